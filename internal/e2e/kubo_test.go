package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kubo is a repo of a real Kubo. It has no network until start.
type kubo struct {
	t     testing.TB
	ipfs  string
	dir   string
	place place
	id    string // libp2p peer id
	addr  string // multiaddr with the id; "": no running daemon
}

// kuboProgram returns the program that LIFTOFF_TEST_KUBO names, or "".
func kuboProgram(t testing.TB) string {
	t.Helper()
	ipfs := os.Getenv("LIFTOFF_TEST_KUBO")
	if ipfs == "" {
		return ""
	}
	ipfs, err := filepath.Abs(ipfs)
	if err != nil {
		t.Fatal(err)
	}
	return ipfs
}

// needKubo is kuboProgram for tests that cannot run without one.
func needKubo(t testing.TB) string {
	t.Helper()
	ipfs := kuboProgram(t)
	if ipfs == "" {
		t.Skip("SKIPPED: LIFTOFF_TEST_KUBO names no ipfs binary: make setup builds one")
	}
	return ipfs
}

// newKubo creates a repo with Kubo's default storage, or with other profiles.
func newKubo(t testing.TB, ipfs string, profiles ...string) *kubo {
	t.Helper()
	k := &kubo{t: t, ipfs: ipfs, dir: filepath.Join(t.TempDir(), "kubo"), place: here{}}
	k.run("init", "--profile="+strings.Join(append([]string{"test", "unixfs-v1-2025"}, profiles...), ","))
	k.run("config", "--json", "AutoConf.Enabled", "false")
	k.run("config", "--json", "Bootstrap", "[]")
	k.id = k.run("config", "Identity.PeerID")
	return k
}

func (k *kubo) command(args ...string) *exec.Cmd {
	if k.addr == "" {
		args = append(args, "--offline")
	}
	cmd := k.place.Command(k.ipfs, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.dir, "IPFS_TELEMETRY=off")
	return cmd
}

// try runs a command to its end and returns its stdout.
func (k *kubo) try(args ...string) (string, error) {
	cmd := k.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("ipfs %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func (k *kubo) run(args ...string) string {
	k.t.Helper()
	out, err := k.try(args...)
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

// start starts a daemon at a place. It listens on ip and dials no peer by itself.
func (k *kubo) start(at place, ip string) {
	k.t.Helper()
	port := 4001
	if _, ok := at.(here); ok {
		port = freePort(k.t)
	}
	addr := fmt.Sprintf("/ip4/%s/tcp/%d", ip, port)
	for key, value := range map[string]string{
		"DNS.Resolvers": "{}", "Routing.DelegatedRouters": "[]", "Ipns.DelegatedPublishers": "[]", "Routing.Type": `"none"`,
		"AutoTLS.Enabled": "false", "Addresses.Gateway": "[]", "Addresses.API": `"/ip4/127.0.0.1/tcp/0"`, "Addresses.Swarm": fmt.Sprintf("[%q]", addr),
	} {
		k.run("config", "--json", key, value)
	}
	k.place, k.addr = at, addr+"/p2p/"+k.id
	cmd := k.command("daemon")
	log := &output{grown: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	k.t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	if _, err := log.waitFor("Daemon is ready", ended, time.Minute); err != nil {
		k.t.Fatalf("%v\n%s", err, log)
	}
}

// TestKuboReadsOurCAR checks that a real Kubo imports and reads what liftoff exports, and vice
// versa.
func TestKuboReadsOurCAR(t *testing.T) {
	ipfs := needKubo(t)
	r, k := newRepo(t), newKubo(t, ipfs)
	dir := tree(t, 9, 300, 50_000)
	root := r.run("add", "--quiet", dir)
	if got := k.run("add", "-Q", "-r", "--progress=false", dir); got != root {
		t.Errorf("Kubo adds the folder as %s, liftoff as %s", got, root)
	}
	for _, version := range []int{1, 2} {
		car := filepath.Join(t.TempDir(), "ours.car")
		r.run("car", "export", "--car-version", fmt.Sprint(version), "--output", car, root)
		fresh := newKubo(t, ipfs)
		fresh.run("dag", "import", car)
		if got, want := fresh.run("cat", root+"/0/0"), r.run("cat", root+"/0/0"); got != want {
			t.Errorf("CARv%d: Kubo reads other bytes than liftoff", version)
		}
	}

	theirs := filepath.Join(t.TempDir(), "theirs.car")
	f, err := os.Create(theirs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := k.command("dag", "export", root)
	cmd.Stdout = f
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fresh := newRepo(t)
	fresh.run("car", "import", theirs)
	if err := fresh.complete(root); err != nil {
		t.Error(err)
	}
	fresh.verify()
}
