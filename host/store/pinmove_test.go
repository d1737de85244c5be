package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
)

// oldPin writes a pin as an earlier version of liftoff did.
func oldPin(t testing.TB, dir string, p Pin) (path string) {
	t.Helper()
	f := pinFiles{filepath.Join(dir, pinsDir)}
	must(t, os.MkdirAll(filepath.Join(f.dir, tempDir), 0o700))
	if p.Created.IsZero() {
		p.Created = time.Unix(1e9, 0).UTC()
	}
	line, err := json.Marshal(p)
	must(t, err)
	must(t, os.WriteFile(f.path(p.Name), fmt.Appendf(nil, "%s\n%s\n", line, hexSum(line)), 0o600))
	return f.path(p.Name)
}

// oldRepo creates a repo as an earlier version left it: pins of users in files, one of a job in the ledger, and one
// in both.
func oldRepo(t testing.TB) (dir string, want map[string]Pin) {
	t.Helper()
	s := newStore(t)
	b, _ := batch("job", 1)
	must(t, s.Commit(t.Context(), b))
	both := Pin{Name: "both", Roots: []Root{{raw(1, 1).CID(), true}}, Expires: time.Unix(9e9, 0).UTC(), Created: time.Unix(2e9, 0).UTC()}
	must(t, s.AddPin(t.Context(), both))
	want = map[string]Pin{"job": mustGet(s.Pin("job"))(t)}
	must(t, s.Close())
	for i, name := range []string{"both", "a", "../../x", "\x00", "with\nnewline", ".", "kürbis 🎃", strings.Repeat("é", MaxPinName/2)} {
		p := Pin{Name: name, Roots: []Root{{raw(uint64(i+2), 1).CID(), i%2 == 0}}, Created: time.Unix(1e9, 0).UTC()}
		if i == 3 {
			p.Expires = time.Unix(9e9, 0).UTC()
		}
		oldPin(t, s.Dir(), p)
		want[name] = p
	}
	want["both"] = Pin{Name: "both", Roots: []Root{both.Roots[0], want["both"].Roots[0]}, Created: both.Created}
	must(t, os.WriteFile(filepath.Join(s.Dir(), pinsDir, tempDir, "1"), []byte("half a p"), 0o600))
	return s.Dir(), want
}

func mustGet[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// wantAllPins checks the results of Pins and Pin.
func wantAllPins(t testing.TB, s *Store, want map[string]Pin) {
	t.Helper()
	pins, err := s.Pins()
	must(t, err)
	got := map[string]Pin{}
	for _, p := range pins {
		got[p.Name] = p
		if one, err := s.Pin(p.Name); err != nil || !cmp.Equal(one, p, cmpopts.EquateComparable(cid.Cid{})) {
			t.Errorf("Pin: %+v, %v; Pins: %+v", one, err, p)
		}
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(cid.Cid{})); d != "" || len(pins) != len(want) {
		t.Errorf("%d pins; -want +got\n%s", len(pins), d)
	}
	if !slices.IsSortedFunc(pins, func(a, b Pin) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the pins are not ordered by name")
	}
}

func TestPinsOfTheOldFormat(t *testing.T) {
	dir, want := oldRepo(t)
	s := open(t, dir, Config{})
	wantAllPins(t, s, want)
	if exists(filepath.Join(dir, pinsDir)) || s.ledger.Dirty() {
		t.Error("the pins were not moved, or are not durable")
	}
	must(t, s.RemovePin("both"))
	must(t, s.AddPin(t.Context(), Pin{Name: "a", Roots: want["."].Roots, Created: want["."].Created}))
	delete(want, "both")
	want["a"] = Pin{Name: "a", Roots: want["."].Roots, Created: want["."].Created}
	must(t, s.Close())
	s = open(t, dir, Config{})
	wantAllPins(t, s, want)
	clean(t, s)
}

func TestReadOnlyPinsOfTheOldFormat(t *testing.T) {
	dir, want := oldRepo(t)
	freeze(t, dir)
	before := tree(t, dir)
	s := open(t, dir, Config{})
	if !s.ReadOnly() {
		t.Fatal("ReadOnly is false")
	}
	wantAllPins(t, s, want)
	clean(t, s)
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("written to: %q", after)
	}
}

// TestPinMoveEndsAnywhere ends the move at each of its steps. No pin is lost at any step; a file is removed only
// after its pin can be read from the ledger on disk.
func TestPinMoveEndsAnywhere(t *testing.T) {
	killed := errors.New("killed")
	steps := 0
	for last := 0; ; last++ {
		dir, want := oldRepo(t)
		// The store is opened without its old pins, so that the test can move them.
		hidden := filepath.Join(dir, cacheDir, "hidden")
		must(t, os.Rename(filepath.Join(dir, pinsDir), hidden))
		s := open(t, dir, Config{})
		must(t, os.Rename(hidden, filepath.Join(dir, pinsDir)))
		steps = 0
		step := func() error {
			if steps++; steps > last {
				return killed
			}
			return nil
		}
		err := pinMove{
			from: s.oldPins,
			store: func(pins []Pin) ([]Pin, error) {
				if err := step(); err != nil {
					return nil, err
				}
				kept, err := s.storeOldPins(pins)
				if s.ledger.Dirty() {
					t.Error("a file is removed before its pin is durable")
				}
				return kept, errors.Join(err, step())
			},
			remove: func(path string) error {
				if err := step(); err != nil {
					return err
				}
				p := mustGet(s.oldPins.read(path))(t)
				copied := filepath.Join(t.TempDir(), "ledger")
				must(t, os.CopyFS(copied, os.DirFS(filepath.Join(dir, ledgerDir))))
				l := mustGet(ledger.Open(copied, ledger.Config{ReadOnly: true}))(t)
				defer l.Close()
				if _, err := l.Get(pinKey + p.Name); err != nil {
					t.Errorf("pin %q is not in the ledger: %v", p.Name, err)
				}
				return os.Remove(path)
			},
		}.run()
		wantAllPins(t, s, want) // as a read-only open would read it
		must(t, s.Close())
		s = open(t, dir, Config{})
		wantAllPins(t, s, want)
		clean(t, s)
		must(t, s.Close())
		if err == nil {
			break
		}
		if !errors.Is(err, killed) {
			t.Fatal(err)
		}
	}
	if steps != 10 { // a write, its return, eight files
		t.Errorf("%d steps", steps)
	}
}

// TestKillWhileMovingPins kills processes that open a repo with pins of the old format.
func TestKillWhileMovingPins(t *testing.T) {
	dir := filepath.Join(memoryDir(t), "repo")
	s := open(t, dir, Config{})
	must(t, s.Close())
	want := map[string]Pin{}
	for round := range 10 {
		for i := range 200 {
			name := strconv.Itoa(round*150 + i) // some of them are in the ledger
			p := Pin{Name: name, Roots: []Root{{raw(uint64(i), 1).CID(), true}}, Created: time.Unix(1e9, 0).UTC()}
			if have, ok := want[name]; ok {
				p = have
			}
			oldPin(t, dir, p)
			want[name] = p
		}
		cmd := startChild(t, "lock", dir)
		stdin, err := cmd.StdinPipe() // it stays open until this function ends
		must(t, err)
		must(t, cmd.Start())
		files := func() int { return len(mustGet(filepath.Glob(filepath.Join(dir, pinsDir, "*.pin")))(t)) }
		for end := time.Now().Add(10 * time.Second); files() == 200 && time.Now().Before(end) && round%2 == 0; {
			time.Sleep(50 * time.Microsecond)
		}
		life := rand.N(2 * time.Millisecond) // while files are moved, or at any time
		if round%2 == 1 {
			life = rand.N(30 * time.Millisecond)
		}
		time.Sleep(life)
		must(t, cmd.Process.Kill())
		cmd.Wait()
		stdin.Close()
		t.Logf("killed with %d files left", files())
		s := open(t, dir, Config{})
		wantAllPins(t, s, want)
		must(t, s.Close())
	}
}

func TestDamagedPinFiles(t *testing.T) {
	change := func(f func([]byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, f(b), 0o600))
		}
	}
	sealed := func(line string) func([]byte) []byte {
		return func([]byte) []byte { return fmt.Appendf(nil, "%s\n%s\n", line, hexSum([]byte(line))) }
	}
	c := raw(1, 1).CID()
	for name, harm := range map[string]func(t *testing.T, path string){
		"a letter of the CID": change(func(b []byte) []byte {
			at := bytes.Index(b, []byte("bafk")) + 20
			b[at] = map[bool]byte{true: 'b', false: 'a'}[b[at] == 'a']
			return b
		}),
		"empty":          change(func(b []byte) []byte { return nil }),
		"half":           change(func(b []byte) []byte { return b[:len(b)/2] }),
		"no newline":     change(func(b []byte) []byte { return b[:len(b)-1] }),
		"more":           change(func(b []byte) []byte { return append(b, 'x') }),
		"zeros":          change(func(b []byte) []byte { return make([]byte, len(b)) }),
		"huge":           func(t *testing.T, path string) { must(t, os.Truncate(path, 1<<30)) },
		"unknown field":  change(sealed(`{"name":"p","roots":[{"cid":{"/":"` + c.String() + `"}}],"created":"2030-01-01T00:00:00Z","size":1}`)),
		"no pin":         change(sealed(`[]`)),
		"nothing kept":   change(sealed(`{"name":"p","roots":[]}`)),
		"another's file": change(sealed(`{"name":"q","roots":[{"cid":{"/":"` + c.String() + `"}}],"created":"2030-01-01T00:00:00Z"}`)),
		"renamed":        func(t *testing.T, path string) { must(t, os.Rename(path, path+".bak")) },
		"a folder":       func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			must(t, s.Close())
			oldPin(t, s.Dir(), Pin{Name: "sound", Roots: []Root{{c, true}}})
			path := oldPin(t, s.Dir(), Pin{Name: "p", Roots: []Root{{c, true}}})
			harm(t, path)
			s = open(t, s.Dir(), Config{}) // leaves the damaged file in place
			_, err := s.Pins()
			var bad *PinError
			if name != "a folder" && (!errors.As(err, &bad) || !strings.HasPrefix(bad.File, path)) {
				t.Errorf("%v, want a PinError that names %s", err, path)
			}
			wantErr(t, err, path)
			if _, err := s.Pin("p"); err == nil {
				t.Error("Pin did not detect the damage")
			}
			if _, err := s.Pin("sound"); err != nil {
				t.Error(err)
			}
			var found []Damage
			v, err := s.Check(t.Context(), func(d Damage) { found = append(found, d) })
			if err != nil || v.Damaged != 1 || len(found) != 1 || !strings.HasPrefix(found[0].Where, path) {
				t.Errorf("check: %+v, %+v, %v", v, found, err)
			}
			if name != "renamed" { // a damaged pin can be replaced or removed
				must(t, s.AddPin(t.Context(), Pin{Name: "p", Roots: []Root{{c, true}}}))
				if pins, err := s.Pins(); err != nil || len(pins) != 2 {
					t.Errorf("%+v, %v", pins, err)
				}
				clean(t, s)
			}
		})
	}
}

// TestDamagedPinInBothForms: a file stays as long as the ledger has an unreadable pin with the same name.
func TestDamagedPinInBothForms(t *testing.T) {
	s := newStore(t)
	must(t, s.ledger.Write(ledger.Entry{Key: pinKey + "p", Value: []byte(`{"name":"q","roots":[{"cid":{"/":"` + raw(1, 1).CID().String() + `"}}]}`)}))
	must(t, s.Close())
	path := oldPin(t, s.Dir(), Pin{Name: "p", Roots: []Root{{raw(1, 1).CID(), true}}})
	s = open(t, s.Dir(), Config{})
	for _, err := range []error{errOf(s.Pins()), errOf(s.Pin("p")), errOf(s.Collect(t.Context(), time.Now()))} {
		wantErr(t, err, ledgerDir, `want "p"`)
	}
	found := 0
	if v, err := s.Check(t.Context(), func(Damage) { found++ }); err != nil || v.Damaged != 1 || found != 1 || !exists(path) {
		t.Errorf("%+v, %v", v, err)
	}
	must(t, s.RemovePin("p"))
	clean(t, s)
	if exists(path) {
		t.Error("the file is still there")
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestOtherFilesBesidePins(t *testing.T) {
	dir, want := oldRepo(t)
	desktop := filepath.Join(dir, pinsDir, ".DS_Store")
	must(t, os.WriteFile(desktop, []byte("x"), 0o600))
	s := open(t, dir, Config{})
	wantAllPins(t, s, want)
	if left := tree(t, filepath.Join(dir, pinsDir)); len(left) != 2 || left[1] != desktop {
		t.Errorf("left: %q", left)
	}
}
