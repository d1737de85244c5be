package wasm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAdmitsSpec scans the modules of the specification's tests, which are part of wazero: no
// valid module is refused, except for features that guests may not use.
func TestAdmitsSpec(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest/v2/testdata/*.wasm"))
	if err != nil || len(paths) < 1000 {
		t.Fatalf("%d modules, %v", len(paths), err)
	}
	rt, err := open(t, Config{}).engine.runtime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	valid := 0
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := loadCompiled(t.Context(), rt, b); err != nil && !errors.Is(err, errMiss) {
			continue // wazero does not accept it
		}
		valid++
		s, err := scanModule(b)
		if err == nil {
			_, err = s.checkCode()
		}
		if err != nil && !byDesign(err.Error()) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if valid < 1000 {
		t.Errorf("only %d of %d modules are valid", valid, len(paths))
	}
}

// byDesign reports whether reason is the refusal of a valid module that is intended.
func byDesign(reason string) bool {
	for _, s := range []string{"only functions can be imported", "tables: got"} {
		if strings.Contains(reason, s) {
			return true
		}
	}
	return false
}
