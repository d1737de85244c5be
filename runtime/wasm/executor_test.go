package wasm

import (
	"os"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

func open(t testing.TB, cfg Config) *Executor {
	t.Helper()
	e, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func TestSuite(t *testing.T) {
	runtimetest.Suite(t, func(t *testing.T) runtime.Executor { return open(t, Config{}) })
}

func TestSuiteWithDiskCache(t *testing.T) {
	dir := t.TempDir() + "/cache"
	runtimetest.Suite(t, func(t *testing.T) runtime.Executor { return open(t, Config{CacheDir: dir}) })
}

// shared returns an Executor without a disk cache, which several tests share.
func shared(t testing.TB) *Executor {
	t.Helper()
	return open(t, Config{})
}

func TestEngineVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/tetratelabs/" + engineVersion; !strings.Contains(string(mod), want) {
		t.Errorf("go.mod does not require %s", want)
	}
}
