package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOpenMakesAPrivateRepo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "above", "repo")
	s := open(t, dir, Config{})
	for _, path := range []string{"", segmentsDir, ledgerDir, cacheDir, scratchDir} {
		info, err := os.Stat(filepath.Join(dir, path))
		must(t, err)
		if !info.IsDir() || info.Mode().Perm() != 0o700 {
			t.Errorf("%q has mode %v", path, info.Mode())
		}
	}
	v, err := os.ReadFile(filepath.Join(dir, "version"))
	must(t, err)
	if string(v) != "2\n" {
		t.Errorf("version is %q", v)
	}
	if s.Dir() != dir || s.CacheDir() != filepath.Join(dir, "cache") || s.ReadOnly() {
		t.Errorf("%+v", s)
	}
	must(t, s.Close())
	must(t, s.Close())
	open(t, dir, Config{})
}

func TestOpenTakesAnEmptyFolder(t *testing.T) {
	open(t, t.TempDir(), Config{})
}

func TestOpenRefusesAnotherVersion(t *testing.T) {
	for _, have := range []int{0, 3, 1000} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "version"), fmt.Appendf(nil, "%d\n", have), 0o600))
		before := tree(t, dir)
		_, err := Open(dir, Config{})
		var v *VersionError
		if !errors.As(err, &v) || *v != (VersionError{dir, have, 2}) {
			t.Fatalf("version %d: %v", have, err)
		}
		if have > 2 {
			wantErr(t, err, dir, "newer liftoff")
		}
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("written to: %q", after)
		}
	}
}

func TestOpenRefusesForeignFolders(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a home folder":            {".profile": "x", "notes.txt": "x"},
		"our names, no lock":       {"blocks/": "", "pins/": ""},
		"a lock file with content": {"lock": "pid 7", "cache/": ""},
		"folders with files":       {"lock": "", "scratch/thesis.txt": "x"},
		"a version with dots":      {"version": "v1.2.3\n"},
		"no newline":               {"version": "1"},
		"an empty version":         {"version": ""},
		"a long version":           {"version": "1000000000000000000000000000000000000000\n"},
		"negative":                 {"version": "-1\n"},
		"an additional file":       {"lock": "", "blocks/": "", "x": ""},
		"a file for a folder":      {"lock": "", "blocks": ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range files {
				path := filepath.Join(dir, name)
				if strings.HasSuffix(name, "/") {
					must(t, os.MkdirAll(path, 0o700))
					continue
				}
				must(t, os.MkdirAll(filepath.Dir(path), 0o700))
				must(t, os.WriteFile(path, []byte(content), 0o600))
			}
			before := tree(t, dir)
			_, err := Open(dir, Config{})
			var foreign *ForeignError
			if !errors.As(err, &foreign) {
				t.Fatalf("%v, want a ForeignError", err)
			}
			wantErr(t, err, dir, "is not a repo")
			if after := tree(t, dir); !slices.Equal(before, after) {
				t.Errorf("written to: %q", after)
			}
		})
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	_, err := Open(path, Config{})
	wantErr(t, err, path, "not a folder")
}

// TestOpenCompletesAHalfMadeRepo opens the folder of a process that was killed while it created a repo, at every
// step.
func TestOpenCompletesAHalfMadeRepo(t *testing.T) {
	steps := append([]string{lockFile}, repoDirs...)
	steps = append(steps, versionTemp)
	for n := range len(steps) + 1 {
		dir := t.TempDir()
		for _, name := range steps[:n] {
			path := filepath.Join(dir, name)
			if slices.Contains(repoDirs, name) {
				must(t, os.Mkdir(path, 0o700))
			} else {
				must(t, os.WriteFile(path, nil, 0o600))
			}
		}
		s := open(t, dir, Config{})
		b := raw(1, 10)
		must(t, s.Put(t.Context(), b))
		wantHere(t, s, b)
		if _, err := os.Stat(filepath.Join(dir, versionTemp)); !absent(err) {
			t.Errorf("after %q: %s is still there", steps[:n], versionTemp)
		}
	}
}

func TestOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	s := open(t, dir, Config{})
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	must(t, s.Close())

	other := startChild(t, "lock", dir)
	stdin, err := other.StdinPipe()
	must(t, err)
	stdout, err := other.StdoutPipe()
	must(t, err)
	must(t, other.Start())
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("child: %q, %v", line, err)
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrLocked) {
		t.Errorf("open beside another process: %v", err)
	}
	must(t, other.Process.Kill())
	other.Wait()
	stdin.Close()
	open(t, dir, Config{}) // the kernel has released its lock
}

// childLocks holds a repo until its stdin is closed.
func childLocks(dir string) error {
	s, err := Open(dir, Config{})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("open")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestManyOpenAtOnce creates one repo from many goroutines: each open either owns it alone or fails.
func TestManyOpenAtOnce(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "repo")
		const n = 8
		got := make(chan error, n)
		won := make(chan *Store, n)
		for range n {
			go func() {
				s, err := Open(dir, Config{})
				if err == nil {
					won <- s
				}
				got <- err
			}()
		}
		for range n {
			if err := <-got; err != nil && !errors.Is(err, ErrLocked) {
				t.Error(err)
			}
		}
		if len(won) != 1 {
			t.Errorf("%d owners", len(won))
		}
		for range len(won) {
			must(t, (<-won).Close())
		}
	}
}

func TestScratch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	s := open(t, dir, Config{})
	a, remove, err := s.NewScratch()
	must(t, err)
	b, _, err := s.NewScratch()
	must(t, err)
	if a == b || filepath.Dir(a) != filepath.Join(dir, "scratch") {
		t.Errorf("%s, %s", a, b)
	}
	for _, p := range []string{a, b} {
		must(t, os.WriteFile(filepath.Join(p, "file"), []byte("x"), 0o600))
	}
	for _, p := range []string{a, b} { // a guest's folders may have any mode
		must(t, os.MkdirAll(filepath.Join(p, "x", "y"), 0o700))
		must(t, os.Chmod(filepath.Join(p, "x", "y"), 0))
		must(t, os.Chmod(filepath.Join(p, "x"), 0o500))
	}
	must(t, remove())
	if _, err := os.Stat(a); !absent(err) {
		t.Errorf("%s is still there", a)
	}
	must(t, s.Close())
	open(t, dir, Config{})
	if _, err := os.Stat(b); !absent(err) {
		t.Errorf("%s still exists after its process ended", b)
	}
}

func TestClosed(t *testing.T) {
	s := newStore(t)
	session := s.Begin()
	b := raw(1, 10)
	must(t, s.Close())
	_, getErr := s.Get(t.Context(), b.CID())
	_, hasErr := session.Has(t.Context(), b.CID())
	_, pinsErr := s.Pins()
	_, statErr := s.Stat(t.Context())
	_, verifyErr := s.Check(t.Context(), nil)
	for i, err := range []error{
		getErr, hasErr, pinsErr, statErr, verifyErr, s.Put(t.Context(), b), s.Sync(t.Context()),
		session.Put(t.Context(), b), session.Protect(t.Context(), b.CID()), s.RemovePin("x"),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
