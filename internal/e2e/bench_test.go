package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The measurements of whole processes. Variants that are compared run alternately, once each
// per round, so that a machine whose speed drifts does not favour one of them; each reports its
// median and its 10th and 90th percentile.

// series holds the measurements of one variant.
type series []float64

func (s series) at(p float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(p*float64(len(sorted)-1)+0.5)]
}

// report reports s's percentiles under name, which ends in a unit.
func (s series) report(b *testing.B, name string) {
	if len(s) == 0 {
		return
	}
	b.ReportMetric(s.at(0.5), "p50-"+name)
	b.ReportMetric(s.at(0.1), "p10-"+name)
	b.ReportMetric(s.at(0.9), "p90-"+name)
}

// over returns the ratios of two variants, round by round.
func (s series) over(t series) series {
	r := make(series, len(s))
	for i := range s {
		r[i] = s[i] / t[i]
	}
	return r
}

// minus returns the differences of two variants, round by round.
func (s series) minus(t series) series {
	r := make(series, len(s))
	for i := range s {
		r[i] = s[i] - t[i]
	}
	return r
}

// usage is the resource use of a process.
type usage struct {
	wall, cpu float64 // milliseconds
	maxRSS    float64 // MiB
	written   float64 // MiB, to files
}

func spend(b *testing.B, cmd *exec.Cmd) usage {
	b.Helper()
	cmd.Stdout, cmd.Stderr = nil, nil // both to the null device
	return spendOn(b, cmd)
}

// spendPrinting is spend for a command that prints a line; it returns the line without the
// newline.
func spendPrinting(b *testing.B, cmd *exec.Cmd) (usage, string) {
	b.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, nil
	u := spendOn(b, cmd)
	return u, strings.TrimSpace(out.String())
}

func spendOn(b *testing.B, cmd *exec.Cmd) usage {
	b.Helper()
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v", cmd.Args, err)
	}
	wall := time.Since(start)
	system := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{
		wall:   float64(wall.Microseconds()) / 1000,
		cpu:    float64((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Microseconds()) / 1000,
		maxRSS: float64(system.Maxrss) / 1024, written: float64(system.Oublock) / 2048,
	}
}

// BenchmarkBaseline measures the machine itself, as a reference for all other measurements.
func BenchmarkBaseline(b *testing.B) {
	b.Run("process-start", func(b *testing.B) {
		var s series
		for b.Loop() {
			s = append(s, spend(b, exec.Command("true")).wall)
		}
		s.report(b, "ms")
	})
	b.Run("fsync-4KiB", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "f"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		var s series
		for b.Loop() {
			start := time.Now()
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			s = append(s, float64(time.Since(start).Microseconds()))
		}
		s.report(b, "us")
	})
	b.Run("unix-socket-round-trip", func(b *testing.B) {
		ln, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		go func() {
			c, err := ln.Accept()
			if err == nil {
				io.Copy(c, c)
				c.Close()
			}
		}()
		c, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		var s series
		one := make([]byte, 1)
		for b.Loop() {
			start := time.Now()
			if _, err := c.Write(one); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, one); err != nil {
				b.Fatal(err)
			}
			s = append(s, float64(time.Since(start).Nanoseconds())/1000)
		}
		s.report(b, "us")
	})
	b.Run("sha256", func(b *testing.B) {
		data := make([]byte, 1<<20)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			sha256.Sum256(data)
		}
	})
}

// BenchmarkStart measures `liftoff version`; second runs of the C guest, with and without the
// result cache; and second runs of the Go guest compared with `wazero run -cachedir`.
func BenchmarkStart(b *testing.B) {
	wazero := buildWazero(b)
	r := newRepo(b)
	ctx := context.Background()
	small := filepath.Join(b.TempDir(), "small")
	if err := os.WriteFile(small, []byte("hello\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	goWasm := filepath.Join(b.TempDir(), "hello.wasm")
	if err := gobuild(goWasm, []string{"GOOS=wasip1", "GOARCH=wasm"}, "./testdata/hello"); err != nil {
		b.Fatal(err)
	}
	cache := b.TempDir()
	commands := map[string]func() *exec.Cmd{
		"version":   func() *exec.Cmd { return r.command(ctx, "version") },
		"cached":    func() *exec.Cmd { return r.command(ctx, "run", cGuest, "--input", small) },
		"run-c":     func() *exec.Cmd { return r.command(ctx, "run", "--no-cache", cGuest, "--input", small) },
		"run-go":    func() *exec.Cmd { return r.command(ctx, "run", "--no-cache", goWasm) },
		"wazero-go": func() *exec.Cmd { return exec.Command(wazero, "run", "-cachedir", cache, goWasm) },
	}
	got := map[string]series{}
	for _, cmd := range commands { // the first run compiles
		spend(b, cmd())
	}
	for b.Loop() {
		for name, cmd := range commands {
			got[name] = append(got[name], spend(b, cmd()).wall)
		}
	}
	got["version"].report(b, "version-ms")
	got["cached"].minus(got["version"]).report(b, "cached-minus-version-ms")
	got["run-c"].minus(got["version"]).report(b, "run-c-minus-version-ms")
	got["run-go"].report(b, "run-go-ms")
	got["run-go"].over(got["wazero-go"]).report(b, "run-go/wazero")
}

// BenchmarkHash measures the CPU time of sha256 over 256 MiB in a C guest, compared with plain
// `wazero run` of the same module on the same file.
func BenchmarkHash(b *testing.B) {
	wazero := buildWazero(b)
	r := newRepo(b)
	dir := b.TempDir()
	writeNoise(b, filepath.Join(dir, "0"), 256<<20)
	root := r.run("add", "--quiet", filepath.Join(dir, "0"))
	cache := b.TempDir()
	var ours, plain, ratio series
	run := func() *exec.Cmd { return r.command(context.Background(), "run", "--no-cache", cGuest, "--input", root) }
	base := func() *exec.Cmd {
		return exec.Command(wazero, "run", "-cachedir", cache, "-mount", dir+":/in", cGuest)
	}
	spend(b, run())
	spend(b, base())
	for b.Loop() {
		ours = append(ours, spend(b, run()).cpu)
		plain = append(plain, spend(b, base()).cpu)
	}
	ratio = ours.over(plain)
	ours.report(b, "liftoff-cpu-ms")
	plain.report(b, "wazero-cpu-ms")
	ratio.report(b, "ratio")
}

// BenchmarkMemory measures the resident memory of a run that streams its input, beyond that of
// the same run over an empty input. LIFTOFF_TEST_LARGE makes the input 4 GiB.
func BenchmarkMemory(b *testing.B) {
	size := int64(512 << 20)
	if os.Getenv("LIFTOFF_TEST_LARGE") != "" {
		size = 4 << 30
	}
	r := newRepo(b)
	dir := b.TempDir()
	big, small := filepath.Join(dir, "big"), filepath.Join(dir, "small")
	writeNoise(b, big, size)
	writeNoise(b, small, 1)
	bigRoot, smallRoot := r.run("add", "--quiet", big), r.run("add", "--quiet", small)
	if err := os.Remove(big); err != nil {
		b.Fatal(err)
	}
	var all, base series
	for b.Loop() {
		all = append(all, spend(b, r.command(context.Background(), "run", "--no-cache", cGuest, "--input", bigRoot)).maxRSS)
		base = append(base, spend(b, r.command(context.Background(), "run", "--no-cache", cGuest, "--input", smallRoot)).maxRSS)
	}
	all.report(b, "MiB")
	all.minus(base).report(b, "MiB-beyond-empty")
}

// BenchmarkKubo compares common operations on 1 GiB with Kubo, with 1 MiB raw leaves and
// without a daemon. Kubo does not sync to disk: nosync is liftoff without syncing. Each
// operation runs twice, and the second one is measured: a virtual machine that has returned its
// free pages to its host pays several times as much for each page that it takes back.
// LIFTOFF_TEST_KUBO names the ipfs binary.
func BenchmarkKubo(b *testing.B) {
	ipfs := kuboToCompare(b)
	dir := b.TempDir()
	file := filepath.Join(dir, "1GiB")
	writeNoise(b, file, 1<<30)
	car, out := filepath.Join(dir, "x.car"), filepath.Join(dir, "out")
	got := sideBySide{}
	ctx := context.Background()
	for b.Loop() {
		var r repo
		var k *kubo
		fresh := func(args ...string) func() *exec.Cmd {
			return func() *exec.Cmd {
				os.RemoveAll(r.dir)
				r = newRepo(b)
				return r.command(ctx, args...)
			}
		}
		kuboFresh := func(args ...string) func() *exec.Cmd {
			return func() *exec.Cmd {
				if k != nil {
					os.RemoveAll(k.dir)
				}
				k = newKubo(b, ipfs)
				return k.command(args...)
			}
		}
		pair := func(name string, mine, kubo func() *exec.Cmd) {
			for i, cmd := range []func() *exec.Cmd{mine, kubo} {
				spend(b, cmd())
				os.Remove(out)
				c := cmd()
				syscall.Sync() // earlier writes do not slow the measurement
				got.add(name, []string{"liftoff", "kubo"}[i], spend(b, c).wall)
				os.Remove(out)
			}
		}
		kuboAdd := kuboFresh("add", "-Q", "--progress=false", file)
		pair("add-nosync", fresh("add", "--quiet", "--no-sync", file), kuboAdd)
		pair("add", fresh("add", "--quiet", file), kuboAdd)
		root := r.run("add", "--quiet", file)
		if want := k.run("add", "-Q", "--progress=false", file); root != want {
			b.Fatalf("liftoff adds %s, Kubo %s", root, want)
		}
		pair("cat", func() *exec.Cmd { return r.command(ctx, "cat", root) }, func() *exec.Cmd { return k.command("cat", "--progress=false", root) })
		pair("export", func() *exec.Cmd { return r.command(ctx, "car", "export", root, "-o", out) }, func() *exec.Cmd {
			export := k.command("dag", "export", "--progress=false", root)
			export.Path, export.Args = "/bin/sh", append([]string{"sh", "-c", `exec "$@" >"$0"`, out}, export.Args...)
			return export
		})
		r.run("car", "export", root, "-o", car)
		pair("import", fresh("car", "import", car), kuboFresh("dag", "import", car))
		os.Remove(car)
		os.RemoveAll(r.dir)
		os.RemoveAll(k.dir)
	}
	got.report(b)
}

// BenchmarkKuboMany adds 10,000 files of 1 to 8 KiB in one folder, and writes them to the disk
// again, compared with Kubo with its default storage and with pebble. Each round begins with
// another of the three.
//
// Nothing is deleted before the end, about 1 GB per round, and the folders are placed apart on
// the disk: ext4 without a journal does not reuse an inode of a file that was removed within
// the last minutes, and checks each such inode again for every file that is created nearby. A
// program that runs after the removal of some ten thousand files would pay several times as
// much.
func BenchmarkKuboMany(b *testing.B) {
	ipfs := kuboToCompare(b)
	exec.Command("chattr", "+T", filepath.Dir(b.TempDir())).Run() //nolint:errcheck // not on every file system
	dir := b.TempDir()
	many := filepath.Join(dir, "many")
	if err := os.Mkdir(many, 0o755); err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 8))
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprint(i)), noise(rng, 1024+rng.IntN(7*1024)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	type side struct {
		name string
		add  *exec.Cmd
		get  func(root, out string) *exec.Cmd
	}
	got, round := sideBySide{}, 0
	want := newRepo(b).run("add", "--quiet", many) // and all files are in the page cache
	ctx := context.Background()
	for b.Loop() {
		r := newRepo(b)
		sides := []side{{
			"liftoff", r.command(ctx, "add", "--quiet", many),
			func(root, out string) *exec.Cmd { return r.command(ctx, "get", root, "--output", out) },
		}}
		for name, profiles := range map[string][]string{"kubo": nil, "pebble": {"pebbleds"}} {
			k := newKubo(b, ipfs, profiles...)
			sides = append(sides, side{
				name, k.command("add", "-r", "-Q", "--progress=false", many),
				func(root, out string) *exec.Cmd { return k.command("get", "--progress=false", "-o", out, root) },
			})
		}
		slices.SortFunc(sides, func(a, b side) int { return strings.Compare(a.name, b.name) })
		for i := range sides {
			s := sides[(i+round)%len(sides)]
			used, printed := spendPrinting(b, s.add)
			if printed != want {
				b.Fatalf("%s: add returned %s, want %s", s.name, printed, want)
			}
			got.add("add-many", s.name, used.wall)
		}
		for i := range sides {
			s := sides[(i+round)%len(sides)]
			out := filepath.Join(dir, fmt.Sprintf("%s-%d", s.name, round))
			got.add("get-many", s.name, spend(b, s.get(want, out)).wall)
			if list, err := os.ReadDir(out); err != nil || len(list) != 10_000 {
				b.Fatalf("%s: %d files, %v", s.name, len(list), err)
			}
		}
		round++
	}
	got.report(b)
}

func kuboToCompare(b *testing.B) string {
	b.Helper()
	ipfs := kuboProgram(b)
	if ipfs == "" {
		b.Skip("LIFTOFF_TEST_KUBO names no ipfs binary: make setup builds one")
	}
	return ipfs
}

// sideBySide holds the times of each program in milliseconds, by operation and program.
type sideBySide map[string]map[string]series

func (s sideBySide) add(what, program string, ms float64) {
	if s[what] == nil {
		s[what] = map[string]series{}
	}
	s[what][program] = append(s[what][program], ms)
}

// report reports each series, and how many times faster liftoff is than each other program.
func (s sideBySide) report(b *testing.B) {
	for what, programs := range s {
		for program, ms := range programs {
			if program == "liftoff" {
				ms.report(b, what+"-ms")
				continue
			}
			ms.report(b, program+"-"+what+"-ms")
			ms.over(programs["liftoff"]).report(b, program+"/"+what)
		}
	}
}

// cGuest is the committed build of the C example that hashes every file below /in.
const cGuest = "../../wasm-examples/testdata/sha256sum-c.wasm"

// buildWazero builds wazero's own command line from the version in go.mod.
func buildWazero(b *testing.B) string {
	b.Helper()
	out := filepath.Join(b.TempDir(), "wazero")
	if err := gobuild(out, nil, "github.com/tetratelabs/wazero/cmd/wazero"); err != nil {
		b.Fatal(err)
	}
	return out
}

func writeNoise(b *testing.B, name string, size int64) {
	b.Helper()
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	block := noise(rand.New(rand.NewPCG(7, 7)), 1<<20)
	for at := int64(0); at < size; at += int64(len(block)) {
		copy(block, fmt.Sprint(at))
		if _, err := f.Write(block[:min(int64(len(block)), size-at)]); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}
