package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Prefix begins the file name of a plugin's program; the plugin's name follows: 1 to 32 of a-z,
// 0-9, "-" and "_".
const Prefix = "liftoff-executor-"

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// Set is the plugins in some folders. If several folders have a name, the first one counts.
type Set struct {
	dirs []string
	cfg  Config

	mu     sync.Mutex
	byName map[string]*Executor // created so far
	closed bool
}

// NewSet returns the set of the plugins in dirs, without relative ones. It does not read them
// yet.
func NewSet(dirs []string, cfg Config) *Set {
	s := &Set{cfg: cfg, byName: map[string]*Executor{}}
	for _, d := range dirs {
		if filepath.IsAbs(d) && !slices.Contains(s.dirs, filepath.Clean(d)) {
			s.dirs = append(s.dirs, filepath.Clean(d))
		}
	}
	return s
}

// Found is a program whose file name is that of a plugin.
type Found struct {
	Name    string
	Program string
	Traits  runtime.Traits // if Err is nil
	Err     error          // why the program is not used; nil: it is usable
}

var (
	_ runtime.Executor = (*Set)(nil)
	_ runtime.Finder   = (*Set)(nil)
)

// Traits implements runtime.Executor: the ABIs of all plugins. It starts them all.
func (s *Set) Traits() runtime.Traits {
	t := runtime.Traits{Engine: "plugins"}
	for _, f := range s.List(context.Background()) {
		for _, abi := range f.Traits.ABIs {
			if f.Err == nil && !slices.Contains(t.ABIs, abi) {
				t.ABIs = append(t.ABIs, abi)
			}
		}
	}
	return t
}

// Find implements runtime.Finder.
func (s *Set) Find(abi string) (runtime.Executor, error) {
	x, err := s.For(context.Background(), abi)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Check implements runtime.Executor.
func (s *Set) Check(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) error {
	x, err := s.For(ctx, t.ABI)
	if err != nil {
		return err
	}
	return x.Check(ctx, t, lim, env)
}

// Run implements runtime.Executor.
func (s *Set) Run(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
	x, err := s.For(ctx, t.ABI)
	if err != nil {
		return runtime.Result{}, err
	}
	return x.Run(ctx, t, lim, env)
}

// For returns the plugin that runs abi. It first asks the program named after the ABI: docker,
// or sql for x_sql.
func (s *Set) For(ctx context.Context, abi string) (*Executor, error) {
	if !job.Foreign(abi) {
		return nil, runtime.Refusef("no executor for abi %q", abi)
	}
	first := strings.TrimPrefix(abi, job.ABIPlugin)
	var why []error
	if program, err := s.lookup(first); err == nil {
		x, err := s.suits(ctx, first, program, abi)
		if err == nil {
			return x, nil
		}
		why = append(why, err)
	} else if !errors.Is(err, fs.ErrNotExist) {
		why = append(why, err)
	}
	for _, f := range s.programs() {
		if f.Name == first || f.Err != nil {
			continue
		}
		x, err := s.suits(ctx, f.Name, f.Program, abi)
		if err == nil {
			return x, nil
		}
		var unfit *unfitError
		if !errors.As(err, &unfit) {
			why = append(why, err)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(why) == 0 {
		return nil, runtime.Refusef("no executor for abi %q: program %s%s not found in the repo's plugins folder or on PATH", abi, Prefix, first)
	}
	return nil, fmt.Errorf("no executor for abi %q: %w", abi, errors.Join(why...)) // for now: not a fault of the Task
}

// unfitError says that a plugin does not run an ABI.
type unfitError struct{ name, abi string }

func (e *unfitError) Error() string {
	return fmt.Sprintf("plugin %s does not run abi %q", e.name, e.abi)
}

func (s *Set) suits(ctx context.Context, name, program, abi string) (*Executor, error) {
	x, err := s.executor(name, program)
	if err != nil {
		return nil, err
	}
	t, err := x.Probe(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(t.ABIs, abi) {
		return nil, &unfitError{name, abi}
	}
	return x, nil
}

// Named returns the plugin of that name. It starts nothing.
func (s *Set) Named(name string) (*Executor, error) {
	program, err := s.lookup(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, runtime.Refusef("no plugin %s: program %s%s not found in the repo's plugins folder or on PATH", name, Prefix, name)
	}
	if err != nil {
		return nil, &UnavailableError{name, err}
	}
	return s.executor(name, program)
}

// List starts every plugin and returns its traits, or why it is not used. The order is by name,
// then by folder.
func (s *Set) List(ctx context.Context) []Found {
	found := s.programs()
	var g sync.WaitGroup
	for i := range found {
		f := &found[i]
		if f.Err != nil {
			continue
		}
		g.Go(func() {
			x, err := s.executor(f.Name, f.Program)
			if err == nil {
				f.Traits, err = x.Probe(ctx)
			}
			var unavailable *UnavailableError
			if errors.As(err, &unavailable) {
				err = unavailable.Err
			}
			f.Err = err
		})
	}
	g.Wait()
	return found
}

// executor returns the executor of a program, which it creates at the first call.
func (s *Set) executor(name, program string) (*Executor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &UnavailableError{name, errors.New("plugins of this node are closed")}
	}
	x := s.byName[name]
	if x == nil || x.program != program {
		if x != nil { // another program has replaced it
			x.Close()
		}
		x = New(name, program, s.cfg)
		s.byName[name] = x
	}
	return x, nil
}

// lookup returns the program of a plugin; the error is fs.ErrNotExist if no folder has it.
func (s *Set) lookup(name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fs.ErrNotExist
	}
	for _, dir := range s.dirs {
		program := filepath.Join(dir, Prefix+name)
		err := checkProgram(program)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return program, err
		}
	}
	return "", fs.ErrNotExist
}

// programs lists the files whose names are those of plugins.
func (s *Set) programs() []Found {
	var all []Found
	taken := map[string]string{}
	for _, dir := range s.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // unreadable folders are skipped, as in PATH
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), Prefix)
			if !ok {
				continue
			}
			f := Found{Name: name, Program: filepath.Join(dir, e.Name())}
			switch by, twice := taken[name]; {
			case !validName.MatchString(name):
				f.Err = errors.New("invalid plugin name: want 1 to 32 characters of a-z, 0-9, - and _")
			case twice:
				f.Err = fmt.Errorf("shadowed by plugin program %s", by)
			default:
				f.Err = checkProgram(f.Program)
				taken[name] = f.Program
			}
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// checkProgram returns an error if the file at path must not be run.
func checkProgram(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("program is not a regular file")
	case info.Mode()&0o111 == 0:
		return errors.New("program is not executable")
	case info.Mode()&0o002 != 0:
		return errors.New("program is writable by all users")
	}
	return nil
}

// Close ends the programs.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var g sync.WaitGroup
	for _, x := range s.byName {
		g.Go(func() { x.Close() })
	}
	g.Wait()
	return nil
}
