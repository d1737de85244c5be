package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/docker"
	"github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// TestMain runs the tests against one Docker engine. They run only if LIFTOFF_TEST_DOCKER is
// set, and then fail without an engine: make test-all sets it.
func TestMain(m *testing.M) {
	code := m.Run()
	dockertest.StopShared()
	os.RemoveAll(built.dir)
	os.Exit(code)
}

// engine returns the shared engine of the tests.
func engine(t testing.TB) *dockertest.Engine {
	t.Helper()
	if os.Getenv("LIFTOFF_TEST_DOCKER") == "" {
		t.Skip("SKIP: LIFTOFF_TEST_DOCKER is not set (make test-all sets it)")
	}
	e, err := dockertest.Shared()
	if err != nil {
		t.Fatalf("no Docker engine: %v", err)
	}
	return e
}

// ownEngine starts an engine for one test, which may kill it. Starting one is slow.
func ownEngine(t *testing.T) *dockertest.Engine {
	t.Helper()
	engine(t)
	e, err := dockertest.Start()
	if err != nil {
		t.Skipf("SKIP: cannot start an engine: %v", err)
	}
	t.Cleanup(e.Stop)
	return e
}

// built is the plugin's program, built once for all tests.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "executor-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", built.dir+"/"+plugin.Prefix+"docker", ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build the plugin: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, plugin.Prefix+"docker")
}

// start returns the executor of the real plugin program, connected to the engine e. Its
// containers are labelled with owner.
func start(t testing.TB, e *dockertest.Engine, owner string, env ...string) *plugin.Executor {
	t.Helper()
	x := plugin.New("docker", program(t), plugin.Config{
		Owner: owner, Env: append(os.Environ(), append(env, "DOCKER_HOST="+e.Host)...),
	})
	t.Cleanup(func() { x.Close() })
	return x
}

func TestConfig(t *testing.T) {
	for env, says := range map[string]string{
		"":                           wire.EnvOwner,
		"LIFTOFF_DOCKER_CPUS=many":   "CPUS",
		"LIFTOFF_DOCKER_CPUS=NaN":    "CPUS",
		"LIFTOFF_DOCKER_CPUS=-1":     "CPUS",
		"LIFTOFF_DOCKER_PIDS=0":      "PIDS",
		"LIFTOFF_DOCKER_IMAGES=x":    "IMAGES",
		"LIFTOFF_DOCKER_PULL=always": "PULL",
		"LIFTOFF_DOCKER_MAX_IMAGE=99999999999999999999": "MAX_IMAGE",
	} {
		name, value, _ := strings.Cut(env, "=")
		_, err := config(func(k string) string {
			switch {
			case k == name:
				return value
			case k == wire.EnvOwner && env != "":
				return "owner"
			}
			return ""
		})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one that contains %s", env, err, says)
		}
	}
	set := map[string]string{
		wire.EnvOwner: "owner", "LIFTOFF_DOCKER_CPUS": "1.5", "LIFTOFF_DOCKER_PIDS": "7", "LIFTOFF_DOCKER_PULL": "never",
		"LIFTOFF_DOCKER_IMAGES": "3", "LIFTOFF_DOCKER_MAX_IMAGE": "5", "LIFTOFF_DOCKER_NETWORK": "net",
	}
	got, err := config(func(k string) string { return set[k] })
	want := docker.Config{Owner: "owner", CPUs: 1.5, Pids: 7, NoPull: true, MaxImages: 3, MaxImage: 5, Network: "net"}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestStartedByHand(t *testing.T) {
	err := run(t.Context(), strings.NewReader(""), os.Stderr, func(string) string { return "" })
	if err == nil || !strings.Contains(err.Error(), "which liftoff starts") {
		t.Errorf("error %v", err)
	}
}
