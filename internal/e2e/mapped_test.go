package e2e

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// twiceWasm reads a part of its stdin, prints 4 MiB, and reads the same part again, or another
// one.
const twiceWasm = "../../cmd/liftoff/testdata/guests/twice.wasm"

// TestMappedInput has a program change an attached file through a mapping, which does not
// change the file's times, during a run over it. The run leaves no receipt and no cached
// result, and ends with an error that names the file, whether the guest reads the changed part
// again or had only read it before.
func TestMappedInput(t *testing.T) {
	for name, again := range map[string]bool{"read twice": true, "read once": false} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "file")
			data := make([]byte, 2<<20)
			rand.NewChaCha8([32]byte{1}).Read(data)
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			mapped := mapFile(t, file)
			root := strings.Fields(r.run("attach", "add", dir))[0]

			args := []string{"run", "--stdin", root + "/file", twiceWasm}
			if again {
				args = append(args, "--", "again")
			}
			if got := r.try(nil, args...); got.code != 0 {
				t.Fatalf("exit code %d\n%s", got.code, got.stderr)
			}
			receipts := r.run("receipt", "ls")
			r.run("cache", "rm", "--all")

			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := r.command(ctx, args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			first := make([]byte, 1)
			if _, err := io.ReadFull(out, first); err != nil { // the guest has read its input, and waits for this reader
				t.Fatal(err)
			}
			const at = 1<<20 + 64<<10
			for i := range 4096 {
				mapped[at+i] ^= 1
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 125 || !strings.Contains(stderr.String(), file) {
				t.Errorf("exit code %d, want 125 and an error that names %s\n%s", code, file, &stderr)
			}
			all := append(first, rest...)
			for len(all) > 0 {
				n := min(4096, len(all))
				if want := data[at:][:n]; !bytes.Equal(all[:n], want) && !bytes.Equal(all[:n], data[:n]) {
					t.Fatal("the guest has read bytes that are not its input")
				}
				all = all[n:]
			}
			if got := r.run("receipt", "ls"); got != receipts {
				t.Errorf("receipts:\n%s\nwant\n%s", got, receipts)
			}
			if got := r.run("cache", "ls"); got != "" {
				t.Errorf("cached result: got %s", got)
			}
			for i := range 4096 {
				mapped[at+i] ^= 1
			}
			if got := r.try(nil, args...); got.code != 0 {
				t.Errorf("restored file: exit code %d\n%s", got.code, got.stderr)
			}
		})
	}
}

// TestRotInRun checks that a page of a segment that a disk loses between two reads of a run is
// reported as damage, and never read as data.
func TestRotInRun(t *testing.T) {
	r := newRepo(t)
	file := filepath.Join(t.TempDir(), "file")
	data := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	root := r.run("add", "-q", file)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := r.command(ctx, "run", "--stdin", root, twiceWasm, "--", "again")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	const at = 1<<20 + 64<<10
	segment := damage(t, r.dir, data[at:][:4096])
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 125 || !strings.Contains(stderr.String(), segment) {
		t.Errorf("exit code %d, want 125 and an error that names %s\n%s", code, segment, &stderr)
	}
	if len(rest) != 4<<20-1 || !bytes.HasSuffix(rest, data[at:][:4096]) {
		t.Errorf("the guest printed %d bytes, the last of them differ from its first read", len(rest))
	}
	if got := r.run("receipt", "ls"); got != "" {
		t.Errorf("receipts:\n%s", got)
	}
}

// damage changes the one place in the repo's files that holds b, and returns the file.
func damage(t *testing.T, dir string, b []byte) (path string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		all, err := os.ReadFile(name)
		at := bytes.Index(all, b)
		if err != nil || at < 0 {
			return err
		}
		path = name
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte{b[0] ^ 1}, int64(at))
		return err
	})
	if err != nil || path == "" {
		t.Fatalf("no file in %s holds the bytes: %v", dir, err)
	}
	return path
}

// mapFile maps a file, and touches all of it so that a change does not change its times.
func mapFile(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(m) })
	for i := 0; i < len(m); i += 4096 {
		m[i] ^= 1
		m[i] ^= 1
	}
	return m
}
