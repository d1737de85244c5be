package wasm

import (
	"bufio"
	"bytes"
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

// A stranger's module is compiled in a process of its own: what a compiler takes for
// hostile code cannot be foretold, and inside this process it could be neither bounded
// nor stopped. The child's memory and processor time are limited by the system, it
// writes wazero's file into the stage, and this process does no more than load that.
//
// What a module makes of the child is a refusal of the module; that the child cannot be
// started, or does not get its turn, is an error of this machine.

// The child's allowance grows with its module, in bytes, after the rewriting.
const (
	childMemory     = 256 << 20        // bytes, and
	childMemoryEach = 32               // bytes for each byte
	childTime       = 1                // seconds of processor time, and
	childTimeEach   = 2                // seconds for each MiB, rounded up: four times what real programs take here
	childWait       = 4                // times as long by the clock, and
	childQueue      = 20 * time.Second // more: processors are shared
)

// childRequest is the first line that the child reads; the module follows.
type childRequest struct {
	Dir     string `json:"dir"`    // the stage
	Layout  string `json:"layout"` // what the child's wazero must call its files' folder
	Size    int64  `json:"size"`   // bytes of the module
	Memory  int64  `json:"memory"` // bytes
	Seconds int64  `json:"seconds"`
}

// childReport is the line that the child answers.
type childReport struct {
	Done    bool   `json:"done"`
	Refused string `json:"refused,omitempty"` // why the module is to blame
	Fault   string `json:"fault,omitempty"`   // what else went wrong
}

// errNoStage says that there is nowhere to put what a child compiles.
var errNoStage = errors.New("compile a stranger's module: there is no folder for compiled modules")

// errMiss says that what lies in the stage is not the compiled form of the module.
var errMiss = errors.New("the compiled module is not usable")

// compileApart is compile for a stranger's module: nothing of it is compiled here.
// loaded is the name of the file that the disk had, or "".
func (e *engine) compileApart(ctx context.Context, rt *hostRuntime, key, id, loaded string, b []byte) (wazero.CompiledModule, error) {
	if loaded != "" {
		if c, err := loadCompiled(ctx, rt, b); err == nil {
			return c, nil
		}
		e.cfg.Log.Warn("a compiled module is not usable and is made again", "module", id)
		if err := e.stage.clear(); err != nil {
			return nil, err
		}
	}
	if err := e.runChild(ctx, b); err != nil {
		return nil, err
	}
	c, err := loadCompiled(ctx, rt, b)
	if err != nil {
		return nil, fmt.Errorf("load what %q compiled: %w", e.cfg.Compiler[0], err)
	}
	if err := e.disk.store(key, e.stage.files, ""); err != nil {
		e.cfg.Log.Warn("a compiled module cannot be kept", "module", id, "err", err)
	}
	return c, nil
}

// loadCompiled takes module b from wazero's cache and never compiles a function: wazero
// looks for the file first and at its context before each function.
func loadCompiled(ctx context.Context, rt *hostRuntime, b []byte) (wazero.CompiledModule, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	cancel(errMiss)
	return compile(ctx, rt, b)
}

// runChild has a child compile b into the stage.
func (e *engine) runChild(ctx context.Context, b []byte) error {
	size := int64(len(b))
	req := childRequest{
		Dir: e.stage.dir, Layout: e.layout, Size: size,
		Memory:  childMemory + childMemoryEach*size,
		Seconds: childTime + (childTimeEach*size+1<<20-1)>>20,
	}
	return e.ask(ctx, req, b, childQueue+childWait*time.Duration(req.Seconds)*time.Second)
}

// ask starts a child for req and b, which ends after wait at the latest.
func (e *engine) ask(ctx context.Context, req childRequest, b []byte, wait time.Duration) error {
	head, err := json.Marshal(req)
	if err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	cmd := exec.CommandContext(timed, e.cfg.Compiler[0], e.cfg.Compiler[1:]...)
	cmd.Env = []string{} // nil would be this process's own
	cmd.Dir = "/"
	cmd.Stdin = io.MultiReader(bytes.NewReader(head), strings.NewReader("\n"), bytes.NewReader(b))
	out, diag := &head4k{}, &head4k{}
	cmd.Stdout, cmd.Stderr = out, diag
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for this process
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case timed.Err() != nil:
		return fmt.Errorf("compile the module: the compiler was not done after %v", wait)
	case cmd.ProcessState == nil:
		return fmt.Errorf("start the compiler: %w", err)
	case err != nil && cmd.ProcessState.Success(): // it left before it had read all
		return fmt.Errorf("talk to the compiler: %w", err)
	case err != nil:
		return req.blame(cmd.ProcessState, diag.String())
	}
	var report childReport
	switch err := json.Unmarshal(out.Bytes(), &report); {
	case err != nil:
		return fmt.Errorf("understand the compiler: %w", err)
	case report.Refused != "":
		return runtime.Refusef("%s", report.Refused)
	case report.Fault != "" || !report.Done:
		return fmt.Errorf("compile the module: %s", report.Fault)
	}
	return nil
}

// blame says what an end without a report means.
func (req childRequest) blame(p *os.ProcessState, diag string) error {
	status, _ := p.Sys().(syscall.WaitStatus)
	const slack = 500 * time.Millisecond // the system counts in ticks
	limit := time.Duration(req.Seconds) * time.Second
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL && p.UserTime()+p.SystemTime() > limit-slack,
		status.Signaled() && status.Signal() == syscall.SIGXCPU:
		return runtime.Refusef("compiling it takes more than %v of processor time", limit)
	case status.Signaled():
		return fmt.Errorf("compile the module: the compiler was ended by a signal: %v", status.Signal())
	case isOutOfMemory(diag):
		return runtime.Refusef("compiling it takes more than %d MiB of memory", req.Memory>>20)
	case status.ExitStatus() == goCrash && isGoCrash(diag):
		line, _, _ := strings.Cut(diag, "\n")
		return runtime.Refusef("wazero fails on it: %s", line)
	}
	line, _, _ := strings.Cut(diag, "\n")
	return fmt.Errorf("compile the module: the compiler ended with %v: %s", p, line)
}

// goCrash is the exit code of a Go program that crashes.
const goCrash = 2

// isGoCrash knows the first words of a crash. A segmentation violation is among them:
// Go may meet the limit of memory in the middle of making room.
func isGoCrash(diag string) bool {
	for _, first := range []string{"panic: ", "fatal error: ", "runtime: ", "SIGSEGV: ", "SIGBUS: ", "unexpected fault"} {
		if strings.HasPrefix(diag, first) {
			return true
		}
	}
	return false
}

// isOutOfMemory knows Go's and the system's words for it.
func isOutOfMemory(text string) bool {
	return strings.Contains(text, "out of memory") || strings.Contains(text, "cannot allocate memory")
}

// head4k keeps the first 4 KiB of what is written to it.
type head4k struct{ bytes.Buffer }

func (h *head4k) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), 4096-h.Len())])
	return len(p), nil
}

// CompileChild is the whole program that Config.Compiler names: it reads a module,
// compiles it within the limits that it is told, and answers in one line. It changes
// the limits of this process, which should do nothing else. An error means that it was
// not called by an Executor; everything else is in the answer.
func CompileChild(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	r := bufio.NewReader(stdin)
	head, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read a request: %w", err)
	}
	var req childRequest
	if err := json.Unmarshal(head, &req); err != nil {
		return fmt.Errorf("read a request: %w", err)
	}
	report := childReport{Done: true}
	if err := req.serve(ctx, r); err != nil {
		report = childReport{Fault: err.Error()}
		var refused *runtime.RefusedError
		switch {
		case errors.As(err, &refused):
			report = childReport{Refused: refused.Reason}
		case isOutOfMemory(err.Error()):
			report = childReport{Refused: fmt.Sprintf("compiling it takes more than %d MiB of memory", req.Memory>>20)}
		case errors.Is(err, errEngine):
			report = childReport{Refused: err.Error()}
		}
	}
	return json.NewEncoder(stdout).Encode(report)
}

// serve compiles what r holds into the stage.
func (req childRequest) serve(ctx context.Context, r io.Reader) error {
	if err := setLimits(req.Memory, req.Seconds); err != nil {
		return fmt.Errorf("limit the compiler: %w", err)
	}
	b := make([]byte, req.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read the module: %w", err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(req.Dir)
	if err != nil {
		return fmt.Errorf("open the stage: %w", err)
	}
	layout, err := (&stage{dir: req.Dir}).find()
	if err != nil {
		return err
	}
	if layout != req.Layout {
		return fmt.Errorf("the compiler makes %s, not %s: it is of another version", layout, req.Layout)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(cache))
	_, err = compile(ctx, &hostRuntime{Runtime: rt}, b)
	return err
}
