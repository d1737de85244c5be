package wasm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/ipfs-liftoff/liftoff/runtime"
)

// An untrusted module is compiled in a separate process: the cost of compiling hostile code
// cannot be predicted, and inside this process it could be neither limited nor stopped. The
// operating system limits the child's memory and processor time. The child writes wazero's file
// into the stage, and this process only loads that file.
//
// A failure that the module causes in the child is a refusal of the module; a child that cannot
// be started, or gets no processor time, is a machine fault.

// The child's limits grow with the size of its module after rewriting.
const (
	childMemory     = 256 << 20        // bytes, plus
	childMemoryEach = 32               // bytes per byte of the module
	childTime       = 1                // seconds of processor time, plus
	childTimeEach   = 2                // seconds per MiB, rounded up: four times what real programs take
	childWait       = 4                // times as long in wall time, plus
	childQueue      = 20 * time.Second // because processors are shared
)

// childRequest is the first line of the child's input; the module follows.
type childRequest struct {
	Dir     string `json:"dir"`    // the stage
	Layout  string `json:"layout"` // the folder name that the child's wazero has to use
	Size    int64  `json:"size"`   // bytes of the module
	Memory  int64  `json:"memory"` // bytes
	Seconds int64  `json:"seconds"`
}

// childReport is the child's answer, one line.
type childReport struct {
	Done    bool   `json:"done"`
	Refused string `json:"refused,omitempty"` // the module's fault
	Fault   string `json:"fault,omitempty"`   // any other failure
}

// errNoStage says that no folder is configured for the child's output.
var errNoStage = errors.New("compile untrusted module: no folder for compiled modules")

// errMiss says that the file in the stage is not the compiled form of the module.
var errMiss = errors.New("compiled module in the cache is unusable")

// compileApart is compile for an untrusted module: this process compiles nothing. loaded is the
// name of the file that came from the disk, or "".
func (e *engine) compileApart(ctx context.Context, rt *hostRuntime, key, id, loaded string, b []byte) (wazero.CompiledModule, error) {
	if loaded != "" {
		if c, err := loadCompiled(ctx, rt, b); err == nil {
			return c, nil
		}
		e.cfg.Log.Warn("unusable compiled module in cache, compiling again", "module", id)
		if err := e.stage.clear(); err != nil {
			return nil, err
		}
	}
	if err := e.runChild(ctx, b); err != nil {
		return nil, err
	}
	c, err := loadCompiled(ctx, rt, b)
	if err != nil {
		return nil, fmt.Errorf("load module compiled by %q: %w", e.cfg.Compiler[0], err)
	}
	if err := e.disk.store(key, e.stage.files, ""); err != nil {
		e.cfg.Log.Warn("compiled module not cached", "module", id, "err", err)
	}
	return c, nil
}

// loadCompiled loads module b from wazero's cache and never compiles a function: wazero looks
// for the file first, and checks its context before each function.
func loadCompiled(ctx context.Context, rt *hostRuntime, b []byte) (wazero.CompiledModule, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	cancel(errMiss)
	return compile(ctx, rt, b)
}

// runChild makes a child compile b into the stage.
func (e *engine) runChild(ctx context.Context, b []byte) error {
	size := int64(len(b))
	req := childRequest{
		Dir: e.stage.dir, Layout: e.layout, Size: size,
		Memory:  childMemory + childMemoryEach*size,
		Seconds: childTime + (childTimeEach*size+1<<20-1)>>20,
	}
	return e.ask(ctx, req, b, childQueue+childWait*time.Duration(req.Seconds)*time.Second)
}

// ask starts a child for req and b. The child is killed after wait.
func (e *engine) ask(ctx context.Context, req childRequest, b []byte, wait time.Duration) error {
	head, err := json.Marshal(req)
	if err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	cmd := exec.CommandContext(timed, e.cfg.Compiler[0], e.cfg.Compiler[1:]...)
	cmd.Env = []string{} // nil would be this process's environment
	cmd.Dir = "/"
	cmd.Stdin = io.MultiReader(bytes.NewReader(head), strings.NewReader("\n"), bytes.NewReader(b))
	out, diag := &head4k{}, &head4k{}
	cmd.Stdout, cmd.Stderr = out, diag
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C goes to this process only
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case timed.Err() != nil:
		return fmt.Errorf("compile module: compiler not done after %v", wait)
	case cmd.ProcessState == nil:
		return fmt.Errorf("start compiler process: %w", err)
	case err != nil && cmd.ProcessState.Success(): // it ended before it had read everything
		return fmt.Errorf("write module to compiler process: %w", err)
	case err != nil:
		return req.classifyEnd(cmd.ProcessState, diag.String())
	}
	var report childReport
	switch err := json.Unmarshal(out.Bytes(), &report); {
	case err != nil:
		return fmt.Errorf("read report of compiler process: %w", err)
	case report.Refused != "":
		return runtime.Refusef("%s", report.Refused)
	case report.Fault != "" || !report.Done:
		return fmt.Errorf("compile module: %s", cmp.Or(report.Fault, "compiler process reported neither success nor a reason"))
	}
	return nil
}

// blame classifies the end of a child that has not reported.
func (req childRequest) classifyEnd(p *os.ProcessState, diag string) error {
	status, _ := p.Sys().(syscall.WaitStatus)
	const slack = 500 * time.Millisecond // the system counts in ticks
	limit := time.Duration(req.Seconds) * time.Second
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL && p.UserTime()+p.SystemTime() > limit-slack,
		status.Signaled() && status.Signal() == syscall.SIGXCPU:
		return runtime.Refusef("compiling the module takes more than %v of processor time", limit)
	case status.Signaled():
		return fmt.Errorf("compile module: compiler was killed by signal: %v", status.Signal())
	case isOutOfMemory(diag):
		return runtime.Refusef("compiling the module takes more than %d MiB of memory", req.Memory>>20)
	case status.ExitStatus() == goCrash && isGoCrash(diag):
		line, _, _ := strings.Cut(diag, "\n")
		return runtime.Refusef("wazero crashed while it compiled the module: %s", line)
	}
	line, _, _ := strings.Cut(diag, "\n")
	return fmt.Errorf("compile module: compiler ended with %v: %s", p, cmp.Or(line, "it printed nothing"))
}

// goCrash is the exit code of a Go program that crashes.
const goCrash = 2

// isGoCrash recognizes the first words of a Go crash. A segmentation violation is among them:
// Go may reach the memory limit while it grows its heap.
func isGoCrash(diag string) bool {
	for _, first := range []string{"panic: ", "fatal error: ", "runtime: ", "SIGSEGV: ", "SIGBUS: ", "unexpected fault"} {
		if strings.HasPrefix(diag, first) {
			return true
		}
	}
	return false
}

// isOutOfMemory recognizes the out-of-memory messages of Go and the operating system.
func isOutOfMemory(text string) bool {
	return strings.Contains(text, "out of memory") || strings.Contains(text, "cannot allocate memory")
}

// head4k keeps the first 4 KiB of what is written to it.
type head4k struct{ bytes.Buffer }

func (h *head4k) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), 4096-h.Len())])
	return len(p), nil
}

// CompileChild is the whole program that Config.Compiler names: it reads a module, compiles it
// within the limits of the request, and answers in one line. It changes the limits of this
// process, which should do nothing else. An error means that the caller is not an Executor;
// every other failure is in the answer.
func CompileChild(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	r := bufio.NewReader(stdin)
	head, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read request to compiler process: %w", err)
	}
	var req childRequest
	if err := json.Unmarshal(head, &req); err != nil {
		return fmt.Errorf("read request to compiler process: %w", err)
	}
	report := childReport{Done: true}
	if err := req.serve(ctx, r); err != nil {
		report = childReport{Fault: err.Error()}
		var refused *runtime.RefusedError
		switch {
		case errors.As(err, &refused):
			report = childReport{Refused: refused.Reason}
		case isOutOfMemory(err.Error()):
			report = childReport{Refused: fmt.Sprintf("compiling the module takes more than %d MiB of memory", req.Memory>>20)}
		case errors.Is(err, errEngine):
			report = childReport{Refused: err.Error()}
		}
	}
	return json.NewEncoder(stdout).Encode(report)
}

// serve compiles the module in r into the stage.
func (req childRequest) serve(ctx context.Context, r io.Reader) error {
	if err := setLimits(req.Memory, req.Seconds); err != nil {
		return fmt.Errorf("set compiler limits: %w", err)
	}
	b := make([]byte, req.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read module in compiler process: %w", err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(req.Dir)
	if err != nil {
		return fmt.Errorf("open output folder of compiler process: %w", err)
	}
	layout, err := (&stage{dir: req.Dir}).find()
	if err != nil {
		return err
	}
	if layout != req.Layout {
		return fmt.Errorf("compiler version: got %s, want %s", layout, req.Layout)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(cache))
	_, err = compile(ctx, &hostRuntime{Runtime: rt}, b)
	return err
}
