package smallfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplaceRefuses replaces what is not a regular file, as a symlink to a secret that is
// not mounted: it is an error, and what is there stays.
func TestReplaceRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := Replace(at("file"), []byte("old")); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link": "file", "dangling": "nowhere"} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
		if err := Replace(at(name), []byte("new")); err == nil || !strings.Contains(err.Error(), "want a regular file") {
			t.Errorf("%s: %v", name, err)
		}
		if is, err := os.Readlink(at(name)); err != nil || is != to {
			t.Errorf("%s leads to %q, %v", name, is, err)
		}
	}
	if b, err := Read(at("file"), 10); err != nil || string(b) != "old" {
		t.Errorf("the file is %q, %v", b, err)
	}
	if err := Replace(at("file"), []byte("new")); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d files, want 3, %v", len(entries), err)
	}
}
