package smallfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplaceRefuses replaces a path that is not a regular file, such as a symlink to a secret that is not mounted:
// it is an error, and the path does not change.
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
			t.Errorf("%s: got link target %q, %v", name, is, err)
		}
	}
	if b, err := Read(at("file"), 10); err != nil || string(b) != "old" {
		t.Errorf("file: got %q, %v", b, err)
	}
	if err := Replace(at("file"), []byte("new")); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("got %d files, want 3, %v", len(entries), err)
	}
}
