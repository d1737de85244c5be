package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// liarVar has the token of the fence that a process of this test's binary joins as a peer
// that lies, on the repo of LIFTOFF_PATH.
const liarVar = "LIFTOFF_TEST_LIAR"

// liar is an executor that runs a guest and then says something else came of it: a peer
// with it signs false Outcomes that are sound in every other respect.
type liar struct{ *wasm.Executor }

func (l liar) Run(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
	r, err := l.Executor.Run(ctx, t, lim, env)
	if err != nil {
		return r, err
	}
	b := dag.NewBlock(cid.Raw, []byte("what it never made"))
	r.Outcome.Root, r.Outcome.Size = b.CID(), r.Outcome.Size+uint64(len(b.Data()))
	return r, env.Blocks.Put(ctx, b)
}

// lie serves as a peer that lies until the process is killed.
func lie(token string) error {
	ctx, dir := context.Background(), os.Getenv("LIFTOFF_PATH")
	x, err := wasm.New(ctx, wasm.Config{CacheDir: filepath.Join(dir, "liar")})
	if err != nil {
		return err
	}
	s, err := node.Join(ctx, node.Config{
		Dir: dir, Executors: runtime.Executors{liar{x}},
		Network: &node.NetworkConfig{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Join: token},
	})
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}

// TestReplicasDisagree has one of three peers lie: the command ends with 123 and names
// both receipts, and running the Task again tells whose is right.
func TestReplicasDisagree(t *testing.T) {
	peers := fleet(t, 3)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bad := newRepo(t)
	cmd := exec.Command(self)
	log := &output{grown: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "LIFTOFF_PATH="+bad.dir, liarVar+"="+peers[0].run("fence", "invite"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "the liar is known", 30*time.Second, func() bool {
		return strings.Count(peers[0].run("peers"), " connected ") == 3
	})
	got := peers[0].try(nil, "run", "--json", "--replicas", "3", "--where", "network", workWasm, "--", "1", "true")
	r := decodeRan(t, got)
	if got.code != 123 || len(r.Replicas) != 3 {
		t.Fatalf("exit code %d, %d replicas\n%s\n%s%s", got.code, len(r.Replicas), log, got.stdout, got.stderr)
	}
	named := regexp.MustCompile(`receipt (bafy[a-z0-9]+)`).FindAllStringSubmatch(errorLine(got), -1)
	if len(named) != 2 {
		t.Fatalf("%d receipts are named\n%s", len(named), got.stderr)
	}
	lies, honest := 0, map[string]bool{peers[1].did(): true, peers[2].did(): true}
	for _, m := range named {
		for _, x := range r.Replicas {
			if x.Receipt.String() != m[1] {
				continue
			}
			v := peers[0].try(nil, "verify", "--reexec", m[1])
			if isTrue := v.code == 0; isTrue != honest[x.Peer] {
				t.Errorf("verify of the receipt of %s: exit code %d\n%s%s", x.Peer, v.code, v.stdout, v.stderr)
			}
			if !honest[x.Peer] {
				lies++
			}
		}
	}
	if lies != 1 {
		t.Errorf("%d of the receipts named are the liar's\n%s", lies, got.stderr)
	}
	// Without --json, too; what they disagree about stays in the record.
	got = peers[0].try(nil, "run", "--replicas", "3", "--no-cache", "--where", "network", workWasm, "--", "2", "true")
	if got.code != 123 || strings.Count(errorLine(got), "receipt bafy") != 2 {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	if text := peers[0].run("job", "describe", r.Job); strings.Count(text, "bafy") < 3 || !strings.Contains(text, "disagree") {
		t.Errorf("describe says\n%s", text)
	}
}

// errorLine returns the line that says why a command failed.
func errorLine(got result) string {
	_, rest, _ := strings.Cut(got.stderr, "liftoff: error: ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
