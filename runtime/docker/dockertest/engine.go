// Package dockertest gives tests a real Docker engine and images for it. An engine is either
// the machine's own or, for root, a private one started from Debian's package docker.io that
// shares nothing. Images are built here from one static Go program, so no registry is needed.
package dockertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Engine is a Docker engine.
type Engine struct {
	Host   string // for DOCKER_HOST
	Socket string

	dir string // of an engine that was started here
	cmd *exec.Cmd
	out bytes.Buffer
	end chan struct{}
}

// defaultSocket is the address of the machine's own engine.
const defaultSocket = "/var/run/docker.sock"

// startTime bounds the start of an engine.
const startTime = 30 * time.Second

// Find returns the machine's engine, if it answers.
func Find() (*Engine, error) {
	e := &Engine{Host: "unix://" + defaultSocket, Socket: defaultSocket}
	return e, e.ping(2 * time.Second)
}

// Start starts a private engine. It needs root and the program dockerd. Stop ends it.
func Start() (*Engine, error) {
	program, err := exec.LookPath("dockerd")
	switch {
	case err != nil:
		return nil, errors.New("dockerd not found: apt-get install docker.io")
	case os.Geteuid() != 0:
		return nil, errors.New("dockerd needs root")
	}
	dir, err := os.MkdirTemp("", "dockertest-")
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir, Socket: filepath.Join(dir, "s")}
	e.Host = "unix://" + e.Socket
	if err := e.Restart(program); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// Restart starts the process of an engine that does not run. If program is empty, dockerd is
// looked up on PATH.
func (e *Engine) Restart(program string) error {
	if program == "" {
		program = "dockerd"
	}
	for _, of := range []string{"pid", "exec/containerd/containerd.pid"} { // left by a killed engine
		os.Remove(filepath.Join(e.dir, of)) // dockerd waits for that pid until its parent has reaped it
	}
	e.cmd = exec.Command(program, "--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"),
		"-p", filepath.Join(e.dir, "pid"), "-H", e.Host, "--bridge", "none", "--iptables=false", "--log-level", "warn")
	e.out.Reset()
	e.cmd.Stdout, e.cmd.Stderr = &e.out, &e.out
	e.cmd.WaitDelay = time.Second
	e.cmd.SysProcAttr = sysProcAttr()
	if err := e.cmd.Start(); err != nil {
		return err
	}
	e.end = make(chan struct{})
	go func() {
		_ = e.cmd.Wait()
		close(e.end)
	}()
	for until := time.Now().Add(startTime); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		select {
		case <-e.end:
			return fmt.Errorf("dockerd has ended: %s", tail(e.out.Bytes()))
		default:
		}
		if e.ping(time.Second) == nil {
			return nil
		}
	}
	e.Kill()
	return fmt.Errorf("dockerd does not answer: %s", tail(e.out.Bytes()))
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// Started reports whether this process started the engine, so that it may be killed.
func (e *Engine) Started() bool { return e.dir != "" }

// ping checks that the engine answers.
func (e *Engine) ping(timeout time.Duration) error {
	c := http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.Socket)
		},
	}}
	res, err := c.Get("http://docker/_ping")
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("engine answered %s", res.Status)
	}
	return nil
}

// Kill ends a started engine and all its processes at once, as a power failure does.
func (e *Engine) Kill() {
	_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	<-e.end
	killOf(e.dir)
}

// Stop ends a started engine and removes its files.
func (e *Engine) Stop() {
	if e.dir == "" {
		return
	}
	if e.cmd != nil && e.cmd.Process != nil {
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-e.end:
		case <-time.After(15 * time.Second):
			e.Kill()
		}
	}
	unmountBelow(e.dir)
	if err := os.RemoveAll(e.dir); err != nil {
		fmt.Fprintln(os.Stderr, "dockertest:", err)
	}
}

var shared struct {
	once   sync.Once
	engine *Engine
	err    error
}

// Shared returns the one engine of a test binary: the machine's, or one that is started at the
// first call. StopShared ends it.
func Shared() (*Engine, error) {
	shared.once.Do(func() {
		if shared.engine, shared.err = Find(); shared.err == nil {
			return
		}
		shared.engine, shared.err = Start()
	})
	return shared.engine, shared.err
}

// StopShared ends the engine that Shared has started, if any.
func StopShared() {
	if shared.engine != nil && shared.err == nil {
		shared.engine.Stop()
	}
}
