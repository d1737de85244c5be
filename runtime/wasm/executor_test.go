package wasm

import (
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

// shared returns an Executor without a disk cache for a test that needs nothing of its own.
func shared(t testing.TB) *Executor {
	t.Helper()
	return open(t, Config{})
}
