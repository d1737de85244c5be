package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKill kills add, run, gc and car import with SIGKILL at random points. After each kill the
// store verifies, and whatever a command had reported on its stdout can still be read
// completely.
func TestKill(t *testing.T) {
	kills := 6
	if s := os.Getenv("LIFTOFF_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("LIFTOFF_KILLS: %v", err)
		}
		kills = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newRepo(t)

	// The initial content: an input for run, a CAR for import, garbage for gc.
	input := r.run("add", "--quiet", copyWasm)
	car := filepath.Join(t.TempDir(), "x.car")
	other := newRepo(t)
	carRoot := other.run("add", "--quiet", tree(t, seed, 200, 30_000))
	other.run("car", "export", carRoot, "--output", car)

	ops := []killOp{
		{name: "add", args: func(i int) []string {
			return []string{"add", "--quiet", tree(t, seed+uint64(i)*1000, 1+rng.IntN(300), 1+rng.IntN(100_000))}
		}},
		{name: "run", args: func(i int) []string {
			return []string{"run", "--quiet", copyWasm, "--input", input, "--env", "I=" + fmt.Sprint(i)}
		}},
		{name: "gc", args: func(int) []string { return []string{"gc"} }},
		{name: "import", args: func(int) []string { return []string{"car", "import", car} }},
	}
	for i := range ops { // one complete run of each measures its duration
		start := time.Now()
		r.run(ops[i].args(-1 - i)...)
		ops[i].takes = time.Since(start)
	}

	reported := []string{input}
	killed := 0
	for round := 0; killed < kills; round++ {
		if round > 20*kills+100 {
			t.Fatalf("%d rounds gave only %d kills", round, killed)
		}
		op := ops[rng.IntN(len(ops))]
		out, dead := op.kill(r, round, rng)
		if dead {
			killed++
		}
		if op.name != "gc" {
			for line := range strings.Lines(out) {
				if root, whole := strings.CutSuffix(line, "\n"); whole {
					reported = append(reported, root)
				}
			}
		}
		if op.name == "import" && rng.IntN(2) == 0 {
			r.try(nil, "pin", "rm", carRoot) // creates garbage; it may not have been pinned
			reported = without(reported, carRoot)
		}
		r.verify()
		for range 3 {
			if err := r.complete(reported[rng.IntN(len(reported))]); err != nil {
				t.Fatalf("after %d kills, the last in %s: %v", killed, op.name, err)
			}
		}
		if err := r.complete(reported[len(reported)-1]); err != nil {
			t.Fatalf("after %d kills, the last in %s: %v", killed, op.name, err)
		}
	}
	for _, root := range reported {
		if err := r.complete(root); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d kills, %d reported roots, all complete", killed, len(reported))
}

type killOp struct {
	name  string
	args  func(i int) []string
	takes time.Duration
}

// kill starts the command and kills it at a random point of its usual duration. It returns its
// stdout and whether the kill ended it.
func (o killOp) kill(r repo, i int, rng *rand.Rand) (stdout string, dead bool) {
	r.t.Helper()
	cmd := r.command(context.Background(), o.args(i)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	time.AfterFunc(time.Duration(rng.Int64N(int64(o.takes*11/10)+1)), func() { cmd.Process.Kill() })
	err := cmd.Wait()
	code := exitCode(r.t, err)
	if code > 0 {
		r.t.Fatalf("%s ended with code %d by itself", o.name, code)
	}
	return out.String(), code == -1
}

func without(list []string, s string) []string {
	kept := list[:0]
	for _, l := range list {
		if l != s {
			kept = append(kept, l)
		}
	}
	return kept
}
