package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest"
)

// dockerEngine returns the Docker engine of the tests. They run only if LIFTOFF_TEST_DOCKER is
// set, and then fail without an engine: make test-all sets it.
func dockerEngine(t testing.TB) *dockertest.Engine {
	t.Helper()
	if os.Getenv("LIFTOFF_TEST_DOCKER") == "" {
		t.Skip("SKIP: LIFTOFF_TEST_DOCKER is not set (make test-all sets it)")
	}
	e, err := dockertest.Shared()
	if err != nil {
		t.Fatalf("no Docker engine: %v", err)
	}
	return e
}

// dockerFleet is a requester without the plugin, and two peers that have it.
type dockerFleet struct {
	engine                  *dockertest.Engine
	requester, holder, idle *peer
	image                   string // an OCI archive, a file of the requester's machine
}

func newDockerFleet(t *testing.T) *dockerFleet {
	t.Helper()
	e := dockerEngine(t)
	t.Setenv("DOCKER_HOST", e.Host) // the peers' plugins inherit it
	plugin := filepath.Join(t.TempDir(), "liftoff-executor-docker")
	if err := gobuild(plugin, []string{"CGO_ENABLED=0"}, "../../cmd/liftoff-executor-docker"); err != nil {
		t.Fatal(err)
	}
	f := &dockerFleet{engine: e, image: filepath.Join(t.TempDir(), "image.tar")}
	tar := dockertest.Tar(t, dockertest.Image{Program: dockertest.Guest(t)}.Layout(t)...)
	if err := os.WriteFile(f.image, tar, 0o644); err != nil {
		t.Fatal(err)
	}
	f.requester = newPeer(t, "requester", here{}, "127.0.0.1")
	f.holder = newPeer(t, "holder", here{}, "127.0.0.1")
	f.idle = newPeer(t, "idle", here{}, "127.0.0.1")
	for _, p := range []*peer{f.holder, f.idle} {
		p.run("id") // creates the repo
		folder := filepath.Join(p.dir, "plugins")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(plugin, filepath.Join(folder, filepath.Base(plugin))); err != nil {
			t.Fatal(err)
		}
	}
	join(t, []*peer{f.requester, f.holder, f.idle})
	return f
}

// allow adds the requester's key to the Docker policy of both peers that have the plugin.
func (f *dockerFleet) allow(t *testing.T) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"rules": []any{
		map[string]any{"who": []string{f.requester.did()}, "engines": []string{"docker"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*peer{f.holder, f.idle} {
		if err := os.WriteFile(filepath.Join(p.dir, "policy.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// containers lists the containers that a peer's plugin has started and not removed.
func (f *dockerFleet) containers(t *testing.T, p *peer) []string {
	t.Helper()
	owner := sha256.Sum256([]byte(p.dir))
	cmd := exec.Command("docker", "ps", "-aq", "--filter", "label=org.ipfs-liftoff.owner="+hex.EncodeToString(owner[:8]))
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+f.engine.Host)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return strings.Fields(string(out))
}

// TestDockerInTheNetwork checks that a Docker job gets bids, is placed and fetches its result
// like any other job, once the peers' policies allow its requester.
func TestDockerInTheNetwork(t *testing.T) {
	f := newDockerFleet(t)
	text := file(t, 1, 8<<20)
	input := f.holder.run("add", "--quiet", text)
	args := []string{"run", "--json", "docker://" + f.image, "--input", "text=" + input}

	refused := f.requester.try(nil, append(args, "--", "copy")...)
	const reason = "policy does not allow docker for members of the cluster"
	if refused.code == 0 || !strings.Contains(refused.stderr, "2 peers: "+reason) || !strings.Contains(refused.stderr, "policy.json") {
		t.Fatalf("a member that is not listed: exit code %d, want both peers' refusal\n%s", refused.code, refused.stderr)
	}
	id := strings.Fields(f.requester.run("job", "ls"))[0]
	if record := f.requester.run("job", "describe", id); strings.Count(record, reason) < 2 {
		t.Errorf("job describe: refusals missing:\n%s", record)
	}

	f.allow(t)
	var outcomes []string
	for i := range 2 {
		got := f.requester.try(nil, append(args, "--output", filepath.Join(t.TempDir(), "out"), "--", "copy")...)
		r := decodeRan(t, got)
		if got.code != 0 || r.Where != f.holder.did() || !r.Remote {
			t.Fatalf("run %d: exit code %d, at %q, want the holder\n%s", i, got.code, r.Where, got.stderr)
		}
		outcomes = append(outcomes, r.Outcome)
		if i > 0 {
			continue
		}
		if err := f.requester.complete(r.Output); err != nil {
			t.Error(err)
		}
	}
	if outcomes[0] == outcomes[1] {
		t.Errorf("two runs have the same outcome %s: the second one came from the cache", outcomes[0])
	}

	// Without an input the job can go to the other peer, which fetches the image.
	got := f.requester.try(nil, "run", "docker://"+f.image, "--where", f.idle.did(), "--env", "T_X=1", "--", "words", "far", "away")
	if got.code != 0 || got.stdout != "\"far\"\n\"away\"\n\"T_X=1\"\n" {
		t.Errorf("at the idle peer: exit code %d, %q\n%s", got.code, got.stdout, got.stderr)
	}
	for _, p := range []*peer{f.holder, f.idle} {
		eventually(t, "no container is left at "+p.name, 10*time.Second, func() bool { return len(f.containers(t, p)) == 0 })
	}
}

// TestDockerCancelled cancels a container that another peer runs.
func TestDockerCancelled(t *testing.T) {
	f := newDockerFleet(t)
	f.allow(t)
	id := f.requester.run("run", "--detach", "docker://"+f.image, "--where", f.idle.did(), "--", "spin")
	logs := f.requester.command(t.Context(), "job", "logs", "-f", id)
	stdout, err := logs.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "spinning\n" {
		t.Fatalf("guest's output: got %q, %v\n%s\n%s", line, err, f.requester.run("job", "describe", id), f.idle.log)
	}
	if ids := f.containers(t, f.idle); len(ids) != 1 {
		t.Errorf("containers during the run: %v", ids)
	}
	began := time.Now()
	f.requester.run("job", "cancel", id)
	eventually(t, "the container is gone", 10*time.Second, func() bool { return len(f.containers(t, f.idle)) == 0 })
	t.Logf("cancelled over the network: container removed after %v", time.Since(began))
	if code := exitCode(t, logs.Wait()); code == 0 {
		t.Error("job logs -f of a cancelled job: exit code 0")
	}
	if got := f.requester.run("job", "describe", id); !strings.Contains(got, "state failed") {
		t.Errorf("job describe:\n%s", got)
	}
}
