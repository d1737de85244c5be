package meter_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

var buildGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "liftoff-meter")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(msg))
	}
	return os.ReadFile(out)
})

// goGuest returns testdata/guest, built for WASI.
func goGuest(t testing.TB) []byte {
	t.Helper()
	b, err := buildGuest()
	if err != nil {
		t.Fatalf("build the guest: %v", err)
	}
	return b
}

type outcome struct {
	stdout string
	code   uint32
	fuel   int64
}

// command runs a compiled WASI command in e, which must have WASI.
func command(t testing.TB, e *engine, c wazero.CompiledModule, arg string) outcome {
	t.Helper()
	ctx := context.Background()
	e.account = newAccount()
	var stdout bytes.Buffer
	mod, err := e.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithStdout(&stdout).WithArgs("guest", arg))
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close(ctx)
	_, err = mod.ExportedFunction("_start").Call(ctx)
	var exit *sys.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run: %v\n%s", err, stdout.String())
	}
	o := outcome{stdout: stdout.String()}
	if exit != nil {
		o.code = exit.ExitCode()
	}
	if mod.ExportedGlobal(meter.FuelExport) != nil {
		o.fuel = e.account.spent(mod)
	}
	return o
}

func wasiEngine(t testing.TB, compiler bool) *engine {
	t.Helper()
	e := newEngine(t, compiler)
	wasi_snapshot_preview1.MustInstantiate(t.Context(), e)
	return e
}

func compile(t testing.TB, e *engine, b []byte) wazero.CompiledModule {
	t.Helper()
	c, err := e.CompileModule(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGoProgram runs a Go program unchanged and rewritten: the same output, the same exit code,
// and the same fuel under both engines.
func TestGoProgram(t *testing.T) {
	b := goGuest(t)
	out := rewrite(t, b, meter.Options{})
	e := wasiEngine(t, true)
	want := command(t, e, compile(t, e, b), "20")
	if want.code != 3 || len(want.stdout) < 100 {
		t.Fatalf("original: exit %d, %q", want.code, want.stdout)
	}
	got := command(t, e, compile(t, e, out), "20")
	if got.stdout != want.stdout || got.code != want.code {
		t.Errorf("rewritten: exit %d, %q\noriginal: exit %d, %q", got.code, got.stdout, want.code, want.stdout)
	}
	e = wasiEngine(t, false)
	if again := command(t, e, compile(t, e, out), "20"); again != got {
		t.Errorf("interpreter: %+v\ncompiler: %+v", again, got)
	}
	t.Logf("%d fuel", got.fuel)
}

// TestSize checks that rewriting enlarges a Go program by two fifths at most.
func TestSize(t *testing.T) {
	b := goGuest(t)
	if out := rewrite(t, b, meter.Options{}); len(out) > len(b)*14/10 {
		t.Errorf("%d bytes became %d", len(b), len(out))
	}
}
