package e2e

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// segmentBytes returns the size of the repo's segments.
func (r repo) segmentBytes() (sum int64) {
	list, _ := filepath.Glob(filepath.Join(r.dir, "segments", "*.car"))
	for _, name := range list {
		if info, err := os.Stat(name); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// TestAddResumes ends an add in the middle, with SIGINT and SIGKILL: run again, it writes what
// is missing and nothing twice.
func TestAddResumes(t *testing.T) {
	const size, fed, kept = 64 << 20, 48 << 20, 24 << 20
	content := noise(rand.New(rand.NewPCG(31, 31)), size)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		r := newRepo(t)
		cmd := r.command(context.Background(), "add", "--quiet", "-")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go io.Copy(in, bytes.NewReader(content[:fed])) // stdin stays open
		eventually(t, "half of it is stored", time.Minute, func() bool { return r.segmentBytes() >= kept })
		cmd.Process.Signal(signal)
		if err := cmd.Wait(); err == nil || out.Len() > 0 {
			t.Fatalf("%v: %v, printed %q", signal, err, &out)
		}
		if got := r.run("pin", "ls"); got != "" {
			t.Errorf("%v: pinned %s", signal, got)
		}
		before := r.segmentBytes()
		got := r.try(bytes.NewReader(content), "add", "--quiet", "-")
		if got.code != 0 {
			t.Fatalf("%v: %s", signal, got.stderr)
		}
		if after := r.segmentBytes(); before < kept || after > size+1<<20 {
			t.Errorf("%v: %d bytes before, %d after: more than %d and their metadata", signal, before, after, size)
		}
		if err := r.complete(got.stdout[:len(got.stdout)-1]); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkResume measures an add of 1 GiB, and one that finds half of that stored by a killed
// add. It reads what it finds, to compare, for about as long as it would write it: it saves
// only disk space.
func BenchmarkResume(b *testing.B) {
	file := filepath.Join(b.TempDir(), "1GiB")
	writeNoise(b, file, 1<<30)
	var fresh, resumed, freshCPU, resumedCPU, written series
	ctx := context.Background()
	for b.Loop() {
		r := newRepo(b)
		used := spend(b, r.command(ctx, "add", "--quiet", file))
		fresh, freshCPU = append(fresh, used.wall), append(freshCPU, used.cpu)
		os.RemoveAll(r.dir)

		r = newRepo(b)
		cmd := r.command(ctx, "add", "--quiet", file)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for r.segmentBytes() < 1<<29 && cmd.Process.Signal(syscall.Signal(0)) == nil {
			time.Sleep(time.Millisecond)
		}
		cmd.Process.Kill()
		cmd.Wait()
		used = spend(b, r.command(ctx, "add", "--quiet", file))
		resumed, resumedCPU = append(resumed, used.wall), append(resumedCPU, used.cpu)
		written = append(written, used.written)
		if n := r.segmentBytes(); n > 1<<30+1<<20 {
			b.Fatalf("%d bytes stored", n)
		}
		os.RemoveAll(r.dir)
	}
	fresh.report(b, "fresh-ms")
	resumed.report(b, "resumed-ms")
	freshCPU.report(b, "fresh-cpu-ms")
	resumedCPU.report(b, "resumed-cpu-ms")
	written.report(b, "resumed-written-MiB")
	resumed.over(fresh).report(b, "resumed/fresh")
}
