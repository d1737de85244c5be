package e2e

import (
	"bytes"
	"context"
	"io"
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

// rogueVar holds the join token of the cluster that a process of this test binary joins as a
// dishonest peer, on the repo of LIFTOFF_PATH.
const rogueVar = "LIFTOFF_TEST_ROGUE"

// rogueHowVar selects its behaviour: it signs false Outcomes, or prints output that differs from
// its Outcomes.
const (
	rogueHowVar = "LIFTOFF_TEST_ROGUE_HOW"
	signsLies   = "signs"
	printsLies  = "prints"
)

// rogue is an executor that runs a guest and then returns a different Outcome: a peer with it
// signs false Outcomes that are valid in every other respect.
type rogue struct{ *wasm.Executor }

func (l rogue) Run(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
	r, err := l.Executor.Run(ctx, t, lim, env)
	if err != nil {
		return r, err
	}
	b := dag.NewBlock(cid.Raw, []byte("not the output"))
	r.Outcome.Root, r.Outcome.Size = b.CID(), r.Outcome.Size+uint64(len(b.Data()))
	return r, env.Blocks.Put(ctx, b)
}

// printer is an executor that runs a guest honestly, and prints a different digit for each
// digit that the guest prints.
type printer struct{ *wasm.Executor }

func (p printer) Run(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
	env.Stdout = shiftedDigits{env.Stdout}
	return p.Executor.Run(ctx, t, lim, env)
}

type shiftedDigits struct{ to io.Writer }

func (d shiftedDigits) Write(b []byte) (int, error) {
	return d.to.Write(bytes.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0' + (r-'0'+1)%10
		}
		return r
	}, b))
}

// serveRogue serves as a dishonest peer until the process is killed.
func serveRogue(token string) error {
	ctx, dir := context.Background(), os.Getenv("LIFTOFF_PATH")
	x, err := wasm.New(ctx, wasm.Config{CacheDir: filepath.Join(dir, "rogue")})
	if err != nil {
		return err
	}
	var executor runtime.Executor = rogue{x}
	if os.Getenv(rogueHowVar) == printsLies {
		executor = printer{x}
	}
	s, err := node.Join(ctx, node.Config{
		Dir: dir, Executors: runtime.Executors{executor},
		Network: &node.NetworkConfig{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Join: token},
	})
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}

// startRogue starts a dishonest peer in its own process, and returns its DID when the first of
// peers has it in its peer list.
func startRogue(t *testing.T, peers []*peer, how string) (did string, log *output) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bad := newRepo(t)
	cmd := exec.Command(self)
	log = &output{grown: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "LIFTOFF_PATH="+bad.dir, rogueVar+"="+peers[0].run("cluster", "invite"), rogueHowVar+"="+how)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	honest := map[string]bool{}
	for _, p := range peers {
		honest[p.did()] = true
	}
	eventually(t, "the dishonest peer is in the peer list", 30*time.Second, func() bool {
		for line := range strings.Lines(peers[0].run("peers")) {
			if name, _, _ := strings.Cut(line, " "); strings.Contains(line, " connected ") && strings.Contains(line, "wasi") && !honest[name] {
				did = name
			}
		}
		return did != ""
	})
	return did, log
}

// TestPrintedIsProven has a member of the cluster run honestly and print other digits: the
// command that shows them ends with 123 and names the peer, and one that prints after the check
// shows none.
func TestPrintedIsProven(t *testing.T) {
	peers := fleet(t, 3)
	did, log := startRogue(t, peers, printsLies)
	honest := peers[1].run("run", "--where", "local", workWasm, "--", "1", "balance")
	run := func(args ...string) result {
		return peers[0].try(nil, append(append([]string{"run", "--no-cache"}, args...), workWasm, "--", "1", "balance")...)
	}
	says := func(got result, code int, stdout string) {
		t.Helper()
		if got.code != code || strings.TrimSpace(got.stdout) != strings.TrimSpace(stdout) {
			t.Errorf("exit code %d, printed %q; want %d, %q\n%s\n%s", got.code, got.stdout, code, stdout, got.stderr, log)
		}
	}
	got := run("--where", did)
	if got.code != 123 || !strings.HasPrefix(got.stdout, "working\n") || strings.TrimSpace(got.stdout) == honest {
		t.Fatalf("exit code %d, printed %q\n%s", got.code, got.stdout, got.stderr)
	}
	if line := errorLine(got); !strings.Contains(line, did) || !strings.Contains(line, "the output shown on stdout differs from the outcome") {
		t.Errorf("error line: got %q", line)
	}
	id := strings.Fields(peers[0].run("job", "ls"))[0]
	if text := peers[0].run("job", "describe", id); !strings.Contains(text, "mismatch "+did) {
		t.Errorf("job describe:\n%s", text)
	}
	got = run("--where", did, "--print-after-check")
	says(got, 123, "")
	if line := errorLine(got); !strings.Contains(line, "what "+did+" printed to stdout differs from its outcome") {
		t.Errorf("error line: got %q", line)
	}
	says(run("--where", "network", "--print-after-check"), 0, honest)
	says(run("--where", "network", "--runs", "2"), 0, honest)
	// job logs -f of a submitted job reports it, too.
	id = peers[0].run("run", "--no-cache", "--quiet", "--detach", "--where", did, workWasm, "--", "300", "balance")
	got = peers[0].try(nil, "job", "logs", "-f", id)
	if got.code != 123 || !strings.Contains(errorLine(got), did) {
		t.Errorf("logs: exit code %d, printed %q\n%s", got.code, got.stdout, got.stderr)
	}
}

// TestRunsDisagree has one of three peers sign a false Outcome: the command ends with 123 and
// names both receipts, and re-execution shows which one is right.
func TestRunsDisagree(t *testing.T) {
	peers := fleet(t, 3)
	_, log := startRogue(t, peers, signsLies)
	got := peers[0].try(nil, "run", "--json", "--runs", "3", "--where", "network", workWasm, "--", "1", "true")
	r := decodeRan(t, got)
	if got.code != 123 || len(r.Runs) != 3 {
		t.Fatalf("exit code %d, %d runs\n%s\n%s%s", got.code, len(r.Runs), log, got.stdout, got.stderr)
	}
	named := regexp.MustCompile(`receipt (bafy[a-z0-9]+)`).FindAllStringSubmatch(errorLine(got), -1)
	if len(named) != 2 {
		t.Fatalf("%d receipts named\n%s", len(named), got.stderr)
	}
	dishonest, honest := 0, map[string]bool{peers[1].did(): true, peers[2].did(): true}
	for _, m := range named {
		for _, x := range r.Runs {
			if x.Receipt != m[1] {
				continue
			}
			v := peers[0].try(nil, "verify", "--reexec", m[1])
			if isTrue := v.code == 0; isTrue != honest[x.Peer] {
				t.Errorf("verify of the receipt of %s: exit code %d\n%s%s", x.Peer, v.code, v.stdout, v.stderr)
			}
			if !honest[x.Peer] {
				dishonest++
			}
		}
	}
	if dishonest != 1 {
		t.Errorf("%d of the named receipts are from the dishonest peer, want 1\n%s", dishonest, got.stderr)
	}
	// The same without --json; the job's record keeps the disagreement.
	got = peers[0].try(nil, "run", "--runs", "3", "--no-cache", "--where", "network", workWasm, "--", "2", "true")
	if got.code != 123 || strings.Count(errorLine(got), "receipt bafy") != 2 {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	if text := peers[0].run("job", "describe", r.Job); strings.Count(text, "bafy") < 3 || !strings.Contains(text, "disagree") {
		t.Errorf("job describe:\n%s", text)
	}
}

// errorLine returns the error line of a failed command.
func errorLine(got result) string {
	_, rest, _ := strings.Cut(got.stderr, "liftoff: error: ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
