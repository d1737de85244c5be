package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"
)

func TestPins(t *testing.T) {
	now := time.Date(2030, 2, 3, 4, 5, 6, 7, time.UTC)
	cfg := Config{Clock: func() time.Time { return now }}
	s := open(t, t.TempDir(), cfg)
	a, b := raw(1, 1).CID(), node(raw(2, 1).CID()).CID()
	v0 := cid.NewCidV0(b.Hash())
	names := []string{
		"a", "A", "../../etc/passwd", "/", ".", "..", "tmp", ".hidden", "with\nnewline", "\x00", "\x1b[31m",
		"kürbis 🎃", "con", a.String(), strings.Repeat("é", MaxPinName/2), " ", `"quoted"\`, "<&>\u2028",
	}
	want := map[string]Pin{}
	for i, name := range names {
		p := Pin{Name: name, Roots: []Root{{a, false}, {b, true}, {v0, true}}, Created: now.Add(time.Duration(i) * time.Hour)}
		if i%2 == 0 {
			p.Expires = now.Add(time.Duration(i+1) * time.Minute)
		}
		must(t, s.AddPin(t.Context(), p))
		want[name] = p
	}
	must(t, s.AddPin(t.Context(), Pin{Name: "old", Roots: []Root{{a, true}}, Expires: now}))
	must(t, s.AddPin(t.Context(), Pin{Name: "a", Roots: []Root{{a, true}}})) // in place of the first
	want["a"] = Pin{Name: "a", Roots: []Root{{a, true}}, Created: now}
	must(t, s.Close())

	s = open(t, s.Dir(), cfg)
	pins, err := s.Pins()
	must(t, err)
	got := map[string]Pin{}
	for i, p := range pins {
		got[p.Name] = p
		if i > 0 && pins[i-1].Name >= p.Name {
			t.Errorf("%q stands before %q", pins[i-1].Name, p.Name)
		}
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(cid.Cid{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	for _, name := range names {
		must(t, s.RemovePin(name))
		var missing *PinNotFoundError
		if err := s.RemovePin(name); !errors.As(err, &missing) || missing.Name != name {
			t.Errorf("remove %q again: %v", name, err)
		}
	}
	if pins, err := s.Pins(); err != nil || len(pins) != 0 {
		t.Errorf("%+v, %v", pins, err)
	}
}

func TestPinsThatCannotBe(t *testing.T) {
	s := newStore(t)
	c := raw(1, 1).CID()
	for want, p := range map[string]Pin{
		"needs a name":     {Roots: []Root{{c, true}}},
		"1024 bytes":       {Name: strings.Repeat("x", 1025), Roots: []Root{{c, true}}},
		"UTF-8":            {Name: "\xff", Roots: []Root{{c, true}}},
		"no roots":         {Name: "x"},
		"without a CID":    {Name: "x", Roots: []Root{{c, true}, {}}},
		"year outside":     {Name: "x", Roots: []Root{{c, true}}, Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"at most 16777216": {Name: "x", Roots: bigRoots(c)},
	} {
		wantErr(t, s.AddPin(t.Context(), p), want)
	}
	if n := len(tree(t, filepath.Join(s.Dir(), pinsDir))); n != 2 { // pins, tmp
		t.Errorf("%d things among the pins", n)
	}
}

func bigRoots(c cid.Cid) []Root {
	roots := make([]Root, 300_000)
	for i := range roots {
		roots[i].CID = c
	}
	return roots
}

func TestDamagedPins(t *testing.T) {
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
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			must(t, s.AddPin(t.Context(), Pin{Name: "p", Roots: []Root{{c, true}}}))
			path := s.pinPath("p")
			harm(t, path)
			_, err := s.Pins()
			var bad *PinError
			if !errors.As(err, &bad) || !strings.HasPrefix(bad.File, path) {
				t.Errorf("%v, want a PinError that names %s", err, path)
			}
			if name != "renamed" { // a damaged pin can be replaced, or removed
				must(t, s.AddPin(t.Context(), Pin{Name: "p", Roots: []Root{{c, true}}}))
				if _, err := s.Pins(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWhatLiesBesidePins(t *testing.T) {
	s := newStore(t)
	pin(t, s, "p", true, raw(1, 1))
	must(t, os.WriteFile(filepath.Join(s.Dir(), pinsDir, ".DS_Store"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(s.Dir(), pinsDir, tempDir, "1"), []byte("half a p"), 0o600))
	if pins, err := s.Pins(); err != nil || len(pins) != 1 {
		t.Errorf("%+v, %v", pins, err)
	}
	must(t, s.Close())
	s = open(t, s.Dir(), Config{})
	if _, err := os.Stat(filepath.Join(s.Dir(), pinsDir, tempDir, "1")); !absent(err) {
		t.Errorf("half a pin is still there")
	}
	pin(t, s, "q", true, raw(1, 1))
}
