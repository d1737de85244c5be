package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestDamaged changes bytes of the files: Open then fails, or the revoked member stays revoked.
func TestDamaged(t *testing.T) {
	f := founder(t)
	m := repoIn(t, 2, f)
	exchange(f, m, start)
	if _, err := f.Revoke(m.did, start); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyFile, rosterFile} {
		path := filepath.Join(f.dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += 1 + len(good)/200 {
			b := bytes.Clone(good)
			b[i] ^= 4
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Open(f.dir, f.self)
			if err != nil {
				continue
			}
			if _, err := got.Check(m.did, start); err == nil {
				t.Errorf("%s, byte %d: the revoked member is a member", name, i)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(f.dir, f.self); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(f.dir, keyOf(99)); err == nil {
		t.Error("opened the cluster of another repo")
	}
	info, err := os.Stat(filepath.Join(f.dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestKilledInInit opens a repo that was killed between the two files of a new cluster: it has no cluster, and can
// create or join one.
func TestKilledInInit(t *testing.T) {
	f := founder(t)
	for name, next := range map[string]func(m *Cluster) error{
		"init": func(m *Cluster) error { return m.Init(start) },
		"join": func(m *Cluster) error { join(t, m, f, "", start); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			m := repo(t, 2)
			if err := m.Init(start); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(m.dir, rosterFile)); err != nil {
				t.Fatal(err)
			}
			m, err := Open(m.dir, m.self)
			if err != nil || m.ID() != "" {
				t.Fatal(m, err)
			}
			if err := next(m); err != nil {
				t.Fatal(err)
			}
			again, err := Open(m.dir, m.self)
			if err != nil || again.ID() != m.ID() {
				t.Errorf("open again: %v", err)
			}
		})
	}
}
