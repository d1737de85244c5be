package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// process is a running program.
type process struct {
	cfg    Config
	cmd    *exec.Cmd
	client *http.Client
	alive  io.Closer // the program's stdin: open as long as this node lives
	remove func() error
	words  *lastWords
	gone   chan struct{} // closed when the program has ended and err is set
	err    error         // exit error, nil for exit code 0

	mu      sync.Mutex
	runs    int  // active runs
	suspect bool // it broke the protocol: it is killed as soon as nothing runs in it
}

// maxSocketPath is the longest path of a Unix socket that all systems accept.
const maxSocketPath = 100

func temporaryFolder() (string, func() error, error) {
	dir, err := os.MkdirTemp("", "liftoff-plugin-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// start starts the program with a socket that already listens, so that neither side waits for
// the other.
func start(program string, cfg Config) (_ *process, err error) {
	dir, remove, err := cfg.Folder()
	if err == nil && len(dir)+2 > maxSocketPath {
		_ = remove()
		dir, remove, err = temporaryFolder()
	}
	if err != nil {
		return nil, fmt.Errorf("create plugin socket folder: %w", err)
	}
	defer func() {
		if err != nil {
			_ = remove()
		}
	}()
	address := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on plugin socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close() // the program has its own copy
	socket, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("duplicate plugin socket: %w", err)
	}
	defer socket.Close()
	p := &process{cfg: cfg, remove: remove, words: &lastWords{}, gone: make(chan struct{})}
	p.cmd = exec.Command(program)
	p.cmd.Env = cfg.Env
	if p.cmd.Env == nil {
		p.cmd.Env = os.Environ()
	}
	p.cmd.Env = append(p.cmd.Env, wire.EnvVersions+"="+strconv.Itoa(wire.Version), wire.EnvOwner+"="+cfg.Owner)
	p.cmd.ExtraFiles = []*os.File{socket}
	p.cmd.Stderr = p.words
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C goes to the node only; and stop ends the children
	p.cmd.WaitDelay = time.Second                           // a child of the program may hold stderr open
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.alive = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start plugin program: %w", err)
	}
	p.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", address)
		},
		DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, MaxIdleConnsPerHost: 16,
	}}
	go func() {
		p.err = p.cmd.Wait()
		p.killGroup() // children that it has left
		close(p.gone)
	}()
	return p, nil
}

// usable reports whether the process accepts new runs.
func (p *process) usable() bool {
	select {
	case <-p.gone:
		return false
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.suspect || p.runs > 0 // a new process would remove what the active runs use
}

// enter counts a run until the caller calls leave. A suspect process ends with its last run.
func (p *process) enter() (leave func()) {
	p.mu.Lock()
	p.runs++
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.runs--
		last := p.suspect && p.runs == 0
		p.mu.Unlock()
		if last {
			p.kill()
		}
	}
}

// distrust records that the process broke the protocol.
func (p *process) distrust() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspect = true
}

// stop asks the program to end, and kills it after the grace period.
func (p *process) stop(grace time.Duration) {
	p.alive.Close()
	select {
	case <-p.gone:
	case <-time.After(grace):
	}
	p.kill()
	<-p.gone
	p.client.CloseIdleConnections()
	if err := p.remove(); err != nil {
		p.cfg.Log.Warn("remove plugin socket folder", "err", err)
	}
}

func (p *process) kill() {
	select {
	case <-p.gone: // its pid may be reused
	default:
		p.killGroup()
	}
}

func (p *process) killGroup() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// explain adds the program's exit status and last stderr line to the error of a call.
func (p *process) explain(err error) error {
	select {
	case <-p.gone:
	case <-time.After(100 * time.Millisecond): // a connection closes shortly before its process ends
		return err
	}
	how := "executor process ended"
	if p.err != nil {
		how += " (" + p.err.Error() + ")"
	}
	if words := p.words.String(); words != "" {
		how += ": " + words
	}
	return errors.New(how)
}

func (p *process) get(ctx context.Context, path string, into any) error {
	return p.call(ctx, http.MethodGet, path, nil, into)
}

func (p *process) post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return p.call(ctx, http.MethodPost, path, b, into)
}

// call sends a request and reads the answer, one JSON object.
func (p *process) call(ctx context.Context, method, path string, body []byte, into any) error {
	res, err := p.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, wire.MaxAnswer+1))
	if err != nil {
		return fmt.Errorf("read plugin's answer: %w", err)
	}
	if len(b) > wire.MaxAnswer {
		return fmt.Errorf("plugin's answer is longer than %d bytes", wire.MaxAnswer)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("malformed answer of plugin: %w", err)
	}
	return nil
}

// request sends a request. The caller closes the answer's body.
func (p *process) request(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://plugin"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := p.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("send request to plugin: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(res.Body, maxMessage))
	return nil, fmt.Errorf("plugin answered HTTP status %d: %s", res.StatusCode, reason(string(b)))
}

// lastWords keeps the end of the program's stderr.
type lastWords struct {
	mu   sync.Mutex
	tail []byte
}

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tail = append(w.tail, p[max(0, len(p)-maxMessage):]...)
	w.tail = w.tail[max(0, len(w.tail)-maxMessage):]
	return len(p), nil
}

// String returns the last non-empty line.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := ""
	for s := bufio.NewScanner(bytes.NewReader(w.tail)); s.Scan(); {
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			last = string(line)
		}
	}
	return clean(last)
}

// Pid returns the pid of the program's process, or 0 if it does not run.
func (e *Executor) Pid() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.process == nil {
		return 0
	}
	return e.process.cmd.Process.Pid
}
