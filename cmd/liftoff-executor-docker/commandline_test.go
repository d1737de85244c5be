package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest"
)

// command runs the liftoff binary with its own repo and the plugin on PATH.
type command struct {
	t     *testing.T
	path  string // of the liftoff binary
	image string // an OCI archive
	repo  string
	env   []string
}

func newCommand(t *testing.T, e *dockertest.Engine) *command {
	dir := t.TempDir()
	c := &command{t: t, path: filepath.Join(dir, "liftoff"), image: filepath.Join(dir, "image.tar"), repo: filepath.Join(dir, "repo")}
	build := exec.Command("go", "build", "-o", c.path, "../liftoff")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build liftoff: %v\n%s", err, out)
	}
	if err := os.WriteFile(c.image, archive(t), 0o644); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "LIFTOFF_PATH="+c.repo, "DOCKER_HOST="+e.Host, "PATH="+filepath.Dir(program(t))+":"+os.Getenv("PATH"))
	return c
}

// owner returns the value of the owner label on the repo's containers.
func (c *command) owner() string {
	sum := sha256.Sum256([]byte(c.repo))
	return hex.EncodeToString(sum[:8])
}

func (c *command) make(args ...string) *exec.Cmd {
	cmd := exec.Command(c.path, args...)
	cmd.Env = c.env
	return cmd
}

// run runs liftoff and returns stdout, stderr and the exit code.
func (c *command) run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd := c.make(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		c.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestCommandLine runs images from the command line.
func TestCommandLine(t *testing.T) {
	e := engine(t)
	c := newCommand(t, e)
	if out, errs, _ := c.run("plugins"); !strings.HasPrefix(out, `docker "docker `) {
		t.Errorf("plugins: %s%s", out, errs)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("some text"), 0o644); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copied")
	_, errs, code := c.run("run", "docker://"+c.image, "--input", "text="+text, "--output", copied, "--", "copy")
	if code != 0 || !strings.Contains(errs, "nondet: never cached") || !strings.Contains(errs, "receipt bafy") {
		t.Errorf("exit code %d:\n%s", code, errs)
	}
	if b, err := os.ReadFile(filepath.Join(copied, "text")); string(b) != "some text" {
		t.Errorf("output file: got %q, %v", b, err)
	}
	out, _, code := c.run("run", "docker://"+c.image, "--", "print")
	if out != "hello\n" || code != 3 {
		t.Errorf("got stdout %q, exit code %d", out, code)
	}
	root, _, _ := c.run("add", "--quiet", c.image)
	out, errs, code = c.run("run", "docker://"+strings.TrimSpace(root), "--env", "T_X=1", "--", "words", "by", "CID")
	if out != "\"by\"\n\"CID\"\n\"T_X=1\"\n" || code != 0 {
		t.Errorf("by CID: %q, %d\n%s", out, code, errs)
	}
	if _, errs, code = c.run("run", "docker://"+c.image, "--fuel", "1", "--", "spin"); code != 121 {
		t.Errorf("without fuel: %d\n%s", code, errs)
	}
	if _, errs, code = c.run("run", "docker://"+c.image, "--timeout", "1s", "--", "spin"); code != 124 {
		t.Errorf("without time: %d\n%s", code, errs)
	}
	wantNothingLeft(t, e, c.owner())
}

// TestNodeDies ends liftoff during a run, with Ctrl-C and with SIGKILL: no container outlives
// it.
func TestNodeDies(t *testing.T) {
	e := engine(t)
	c := newCommand(t, e)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		cmd := c.make("run", "docker://"+c.image, "--", "spin")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "spinning\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if ids := left(t, e, c.owner()); len(ids) != 1 {
			t.Errorf("containers during the run: %v", ids)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); sig == syscall.SIGINT && code != 130 {
			t.Errorf("Ctrl-C: exit code %d", code)
		}
		wantNothingLeft(t, e, c.owner())
	}
}
