package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mountTmpfs mounts a tmpfs of 4 MiB, or skips the test.
func mountTmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=700,size=4m"); err != nil {
		t.Skipf("SKIPPED: cannot mount a tmpfs: %v", err)
	}
	unmountAtEnd(t, dir)
	return dir
}

// mountExt4 mounts an ext4 of 8 MiB without blocks reserved for root, or skips the test.
func mountExt4(t *testing.T) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 8<<20))
	for _, cmd := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if b, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: cannot mount an ext4 (%s: %v %s)", cmd[0], err, b)
		}
	}
	unmountAtEnd(t, dir)
	return dir
}

func unmountAtEnd(t *testing.T, dir string) {
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// takeAll fills the disk to the last byte with an unrelated file, and uses the last inode if
// there are few.
func takeAll(t testing.TB, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "unrelated"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	must(t, err)
	defer f.Close()
	for n := 64 << 10; n > 0; {
		switch _, err := f.Write(make([]byte, n)); {
		case errors.Is(err, syscall.ENOSPC):
			n /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	for i := range 10_000 {
		g, err := os.Create(filepath.Join(dir, fmt.Sprint("inode", i)))
		if err != nil {
			return
		}
		g.Close()
	}
}

// fill adds files of 300,000 bytes, each with its own pin, until the disk is full, and then
// uses the rest. It returns the names of the pins.
func (r repo) fill(dir string) (pins []string) {
	r.t.Helper()
	rng := rand.New(rand.NewPCG(5, 5))
	for {
		name := fmt.Sprint("fill", len(pins))
		got := r.try(bytes.NewReader(noise(rng, 300_000)), "add", "--name", name, "-")
		if got.code != 0 {
			if !strings.Contains(got.stderr, "no space left") || !strings.Contains(got.stderr, "liftoff pin rm") {
				r.t.Fatalf("add on a full disk: %s", got.stderr)
			}
			break
		}
		pins = append(pins, name)
	}
	if len(pins) < 8 {
		r.t.Fatalf("only %d files fit", len(pins))
	}
	takeAll(r.t, dir)
	return pins
}

// onFullDisks runs a test on a full tmpfs and on a full ext4, with a repo that has a pin
// "kept", small pins, and pins to remove.
func onFullDisks(t *testing.T, test func(t *testing.T, r repo, kept string, pins []string)) {
	for name, mount := range map[string]func(*testing.T) string{"tmpfs": mountTmpfs, "ext4": mountExt4} {
		t.Run(name, func(t *testing.T) {
			dir := mount(t)
			r := repo{t, filepath.Join(dir, "repo")}
			file := filepath.Join(t.TempDir(), "kept")
			must(t, os.WriteFile(file, noise(rand.New(rand.NewPCG(1, 1)), 200_000), 0o600))
			kept := r.run("add", "--quiet", "--name", "kept", file)
			for i := range 10 {
				if got := r.try(strings.NewReader(fmt.Sprint("small ", i)), "add", "--name", fmt.Sprint("small", i), "-"); got.code != 0 {
					t.Fatal(got.stderr)
				}
			}
			test(t, r, kept, r.fill(dir))
			if err := r.complete(kept); err != nil {
				t.Error(err)
			}
			r.verify()
		})
	}
}

// free returns the free bytes of the disk for other users.
func free(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int64(st.Bavail) * int64(st.Bsize)
}

// TestFullDisk checks that on a disk without a free byte or inode, pins can be removed, space
// is freed and then used again, by one command after the other.
func TestFullDisk(t *testing.T) {
	onFullDisks(t, func(t *testing.T, r repo, kept string, pins []string) {
		r.run("gc") // nothing to remove is not an error
		before := free(t, r.dir)
		r.run("cat", kept)
		r.run("pin", "ls")
		r.run("job", "ls")
		r.run("cache", "rm", "--all")
		if got := r.try(nil, "run", upperWasm); got.code != 125 || !strings.Contains(got.stderr, "full") && !strings.Contains(got.stderr, "no space") ||
			!strings.Contains(got.stderr, "liftoff gc") {
			t.Errorf("run on a full disk: %+v", got)
		}
		for _, name := range pins[:5] {
			r.run("pin", "rm", name)
		}
		if got := r.run("gc"); !strings.HasPrefix(got, "removed 5\n") {
			t.Errorf("gc: %s", got)
		}
		if got := free(t, r.dir) - before; got < 500_000 { // its reserves take some of it
			t.Errorf("gc freed %d bytes of 1,500,000", got)
		}
		if got := r.try(bytes.NewReader(noise(rand.New(rand.NewPCG(9, 9)), 100_000)), "add", "--name", "again", "-"); got.code != 0 {
			t.Errorf("add after a gc: %s", got.stderr)
		}
	})
}

// TestQuotaOnAFullDisk checks that an add that exceeds the quota removes unpinned blocks, on a
// disk without a free byte or inode, and uses their space.
func TestQuotaOnAFullDisk(t *testing.T) {
	onFullDisks(t, func(t *testing.T, r repo, kept string, pins []string) {
		for _, name := range pins[:len(pins)/2] {
			r.run("pin", "rm", name)
		}
		t.Setenv("LIFTOFF_QUOTA", fmt.Sprint(300_000*len(pins))) // less than all files and the kept one together
		got := r.try(bytes.NewReader(noise(rand.New(rand.NewPCG(9, 9)), 100_000)), "add", "--quiet", "--name", "again", "-")
		if got.code != 0 {
			t.Fatalf("add over the quota: %s", got.stderr)
		}
		for _, root := range []string{kept, strings.TrimSpace(got.stdout)} {
			if err := r.complete(root); err != nil {
				t.Error(err)
			}
		}
		for _, name := range pins[len(pins)/2:] {
			r.run("pin", "ls", name)
		}
	})
}

// TestServeOnAFullDisk checks that serve starts on a full disk, refuses jobs and says why; pins
// are removed and space is freed through it; then it accepts jobs.
func TestServeOnAFullDisk(t *testing.T) {
	onFullDisks(t, func(t *testing.T, r repo, kept string, pins []string) {
		cmd := r.command(context.Background(), "serve", "--listen", "/ip4/127.0.0.1/tcp/0")
		pipe, err := cmd.StderrPipe()
		must(t, err)
		must(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill() })
		log := follow(pipe)
		log.await(t, "disk full: no jobs are accepted")
		submit := func() result { return r.try(nil, "run", "--detach", upperWasm) }
		for range 2 {
			if got := submit(); got.code != 125 || !strings.Contains(got.stderr, "full") && !strings.Contains(got.stderr, "no space") ||
				!strings.Contains(got.stderr, "liftoff gc") {
				t.Fatalf("job on a full disk: %+v", got)
			}
		}
		r.run("cat", kept)
		r.run("job", "ls")
		r.run("gc")
		for _, name := range pins {
			r.run("pin", "rm", name)
		}
		r.run("gc")
		if got := submit(); got.code != 0 {
			t.Errorf("job after freeing space: %+v", got)
		}
		must(t, cmd.Process.Signal(os.Interrupt))
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve: %v\n%s", err, log.String())
		}
	})
}

// TestKilledOnAFullDisk kills gc on a full disk several times: pinned data stays, and the last
// gc succeeds.
func TestKilledOnAFullDisk(t *testing.T) {
	onFullDisks(t, func(t *testing.T, r repo, _ string, pins []string) {
		for i, name := range pins[:min(6, len(pins)-2)] {
			r.run("pin", "rm", name)
			cmd := r.command(t.Context(), "gc")
			must(t, cmd.Start())
			stop := time.AfterFunc(time.Duration(5*i)*time.Millisecond, func() { cmd.Process.Kill() })
			cmd.Wait() //nolint:errcheck // killed, or finished
			stop.Stop()
		}
		r.run("gc")
	})
}

// tail collects the log of a command.
type tail struct {
	lines chan string
	all   strings.Builder
}

func follow(r io.Reader) *tail {
	l := &tail{lines: make(chan string, 1000)}
	go func() {
		defer close(l.lines)
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				l.lines <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return l
}

func (l *tail) String() string { return l.all.String() }

// await waits until the log contains text.
func (l *tail) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for !strings.Contains(l.all.String(), text) {
		select {
		case s, ok := <-l.lines:
			if l.all.WriteString(s); !ok {
				t.Fatalf("the process ended without %q:\n%s", text, l.all.String())
			}
		case <-timeout:
			t.Fatalf("no %q:\n%s", text, l.all.String())
		}
	}
}
