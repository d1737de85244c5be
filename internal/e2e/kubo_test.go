package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubo is a repo of a real Kubo, without a daemon and without a network.
type kubo struct {
	t    testing.TB
	ipfs string
	dir  string
}

func newKubo(t testing.TB, ipfs string) kubo {
	t.Helper()
	k := kubo{t, ipfs, filepath.Join(t.TempDir(), "kubo")}
	k.run("init", "--profile=test,unixfs-v1-2025")
	k.run("config", "--json", "AutoConf.Enabled", "false")
	k.run("config", "--json", "Bootstrap", "[]")
	return k
}

func (k kubo) command(args ...string) *exec.Cmd {
	cmd := exec.Command(k.ipfs, append(args, "--offline")...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.dir)
	return cmd
}

func (k kubo) run(args ...string) string {
	k.t.Helper()
	out, err := k.command(args...).Output()
	if err != nil {
		k.t.Fatalf("ipfs %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// TestKuboReadsOurCAR: what liftoff exports, a real Kubo imports and reads, and the
// other way round.
func TestKuboReadsOurCAR(t *testing.T) {
	ipfs := os.Getenv("LIFTOFF_TEST_KUBO")
	if ipfs == "" {
		t.Skip("LIFTOFF_TEST_KUBO names no ipfs binary: make setup builds one")
	}
	ipfs, err := filepath.Abs(ipfs)
	if err != nil {
		t.Fatal(err)
	}
	r, k := newRepo(t), newKubo(t, ipfs)
	dir := tree(t, 9, 300, 50_000)
	root := r.run("add", "--quiet", dir)
	if got := k.run("add", "-Q", "-r", "--progress=false", dir); got != root {
		t.Errorf("Kubo adds the folder as %s, liftoff as %s", got, root)
	}
	for _, version := range []int{1, 2} {
		car := filepath.Join(t.TempDir(), "ours.car")
		r.run("car", "export", "--version", fmt.Sprint(version), "--output", car, root)
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
