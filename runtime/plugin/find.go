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

// Prefix begins the name of a plugin's program; what follows is the plugin's name: 1 to 32
// of a-z, 0-9, "-" and "_".
const Prefix = "liftoff-executor-"

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// Set is the plugins that some folders hold. The first folder that has a name counts.
type Set struct {
	dirs []string
	cfg  Config

	mu     sync.Mutex
	byName map[string]*Executor // made so far
	closed bool
}

// NewSet makes the set of the plugins in dirs, of which relative ones are left out. It
// looks at none of them yet.
func NewSet(dirs []string, cfg Config) *Set {
	s := &Set{cfg: cfg, byName: map[string]*Executor{}}
	for _, d := range dirs {
		if filepath.IsAbs(d) && !slices.Contains(s.dirs, filepath.Clean(d)) {
			s.dirs = append(s.dirs, filepath.Clean(d))
		}
	}
	return s
}

// Found is a program with a plugin's name.
type Found struct {
	Name    string
	Program string
	Traits  runtime.Traits // of one that is taken
	Err     error          // why it is not; nil: it is
}

var (
	_ runtime.Executor = (*Set)(nil)
	_ runtime.Finder   = (*Set)(nil)
)

// Traits implements runtime.Executor: the ABIs of all plugins, which are started for it.
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

// For returns the plugin that runs abi. The program that is named after it is asked first:
// docker, and sql for x_sql.
func (s *Set) For(ctx context.Context, abi string) (*Executor, error) {
	if !job.Foreign(abi) {
		return nil, runtime.Refusef("no executor here runs abi %q", abi)
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
		return nil, runtime.Refusef("no executor here runs abi %q: there is no program %s%s in the repo's folder plugins or on PATH", abi, Prefix, first)
	}
	return nil, fmt.Errorf("no executor here runs abi %q: %w", abi, errors.Join(why...)) // now: the Task is not to blame
}

// unfitError says that a plugin runs other ABIs.
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
		return nil, runtime.Refusef("there is no plugin %s: no program %s%s in the repo's folder plugins or on PATH", name, Prefix, name)
	}
	if err != nil {
		return nil, &UnavailableError{name, err}
	}
	return s.executor(name, program)
}

// List starts every plugin and says what it is, or why it is not taken, by name and then in
// the order of the folders.
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

// executor returns the one of a program, which it makes at the first call.
func (s *Set) executor(name, program string) (*Executor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &UnavailableError{name, errors.New("it is closed")}
	}
	x := s.byName[name]
	if x == nil || x.program != program {
		if x != nil { // another program has taken its place
			x.Close()
		}
		x = New(name, program, s.cfg)
		s.byName[name] = x
	}
	return x, nil
}

// lookup finds the program of a name: fs.ErrNotExist when there is none.
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

// programs lists what has a plugin's name.
func (s *Set) programs() []Found {
	var all []Found
	taken := map[string]string{}
	for _, dir := range s.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // as a shell does with PATH
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), Prefix)
			if !ok {
				continue
			}
			f := Found{Name: name, Program: filepath.Join(dir, e.Name())}
			switch by, twice := taken[name]; {
			case !validName.MatchString(name):
				f.Err = errors.New("its name has other characters than a-z, 0-9, - and _, or more than 32")
			case twice:
				f.Err = fmt.Errorf("%s comes first", by)
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

// checkProgram reports why the file at path is not run.
func checkProgram(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case info.Mode()&0o111 == 0:
		return errors.New("it is not executable")
	case info.Mode()&0o002 != 0:
		return errors.New("everybody may write to it")
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
