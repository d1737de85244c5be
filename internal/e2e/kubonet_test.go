package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// besideKubo starts a peer and a Kubo daemon on loopback. The peer allows the Kubo to get
// published data, and the Kubo connects.
func besideKubo(t *testing.T) (*peer, *kubo) {
	t.Helper()
	k := newKubo(t, needKubo(t))
	k.start(here{}, "127.0.0.1")
	p := newPeer(t, "p", here{}, "127.0.0.1", "--allow-peer", k.id, "--mdns=false")
	p.start("")
	var self struct {
		PeerID string `json:"peer_id"`
	}
	if err := json.Unmarshal([]byte(p.run("peers", "--self", "--json")), &self); err != nil || self.PeerID == "" {
		t.Fatalf("peers --self: %v", err)
	}
	k.run("swarm", "connect", p.listen[0]+"/p2p/"+self.PeerID)
	return p, k
}

// forms are the DAG layouts of other programs, as flags of ipfs add.
var forms = map[string][]string{
	"CIDv0, 256 KiB": {"--cid-version=0", "--raw-leaves=false", "--chunker=size-262144"},
	"CIDv1, 256 KiB": {"--cid-version=1", "--raw-leaves", "--chunker=size-262144"},
	"CIDv1, 1 MiB":   {"--cid-version=1", "--raw-leaves", "--chunker=size-1048576"},
	"blake3":         {"--cid-version=1", "--raw-leaves", "--hash=blake3"},
	"sha2-512":       {"--cid-version=1", "--raw-leaves", "--hash=sha2-512"},
}

// shards creates a folder so large that ipfs add makes it a sharded directory.
func shards(t *testing.T) (dir, name string) {
	t.Helper()
	dir, name = t.TempDir(), "a file whose name is long enough for a sharded directory %04d"
	for i := range 6000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf(name, i)), fmt.Append(nil, "the file ", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, fmt.Sprintf(name, 4321)
}

// TestKuboGetsWhatIsPublished has a real Kubo get the output of a job, and data in every
// layout, from a liftoff peer; it does not get data that is not, or no longer, published.
func TestKuboGetsWhatIsPublished(t *testing.T) {
	p, k := besideKubo(t)
	name := file(t, 20, 3<<20)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	input := p.run("add", "--quiet", name)
	r := decodeRan(t, p.try(nil, "run", "--json", copyWasm, "--input", input))
	if r.Output == "" {
		t.Fatal("the job has no output")
	}
	if out, err := k.try("--timeout=3s", "get", "-o", filepath.Join(t.TempDir(), "early"), r.Output); err == nil {
		t.Errorf("Kubo got unpublished data: %s", out)
	}
	get := func(root string) string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "got")
		k.run("--timeout=60s", "get", "-o", to, root)
		return to
	}
	p.run("publish", r.Output)
	if got, err := os.ReadFile(filepath.Join(get(r.Output), "copy")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("Kubo got %d bytes of the output, want %d: %v", len(got), len(content), err)
	}

	// A second Kubo, without a network, creates the other data.
	maker := newKubo(t, k.ipfs)
	serve := func(flags []string, path string) string {
		t.Helper()
		root := maker.run(append(append([]string{"add", "-Q", "--progress=false"}, flags...), path)...)
		car, err := maker.command("dag", "export", "--progress=false", root).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := p.try(bytes.NewReader(car), "car", "import", "-"); got.code != 0 {
			t.Fatal(got.stderr)
		}
		p.run("publish", root)
		return root
	}
	for form, flags := range forms {
		root := serve(flags, name)
		if got, err := os.ReadFile(get(root)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: Kubo got %d bytes, want %d: %v", form, len(got), len(content), err)
		}
	}
	dir, one := shards(t)
	root := serve([]string{"-r", "--cid-version=1"}, dir)
	if got, err := os.ReadFile(get(root + "/" + one)); err != nil || string(got) != "the file 4321" {
		t.Errorf("from a sharded directory: %q, %v", got, err)
	}

	p.run("unpublish", r.Output)
	k.run("repo", "gc", "--quiet")
	if _, err := k.try("--timeout=3s", "get", "-o", filepath.Join(t.TempDir(), "late"), r.Output); err == nil {
		t.Error("Kubo got data that is not published any longer")
	}
}

// TestInputsFromKubo runs jobs on inputs whose blocks only a real Kubo has: each is fetched
// when the guest reads it.
func TestInputsFromKubo(t *testing.T) {
	p, k := besideKubo(t)
	name := file(t, 21, 3<<20)
	want := newRepo(t).run("run", hashWasm, "--input", name)
	for form, flags := range forms {
		root := k.run(append(append([]string{"add", "-Q", "--progress=false"}, flags...), name)...)
		if got := p.try(nil, "run", hashWasm, "--input", root); got.code != 0 || strings.TrimSpace(got.stdout) != want {
			t.Errorf("%s: exit code %d, %q, want %q\n%s", form, got.code, got.stdout, want, got.stderr)
		}
	}

	sent := func() int64 {
		var s struct{ DataSent int64 }
		if err := json.Unmarshal([]byte(k.run("stats", "bitswap", "--enc=json")), &s); err != nil {
			t.Fatal(err)
		}
		return s.DataSent
	}
	dir, one := shards(t)
	root := k.run("add", "-Q", "-r", "--progress=false", "--cid-version=1", dir)
	before := sent()
	if got := p.try(nil, "run", hashWasm, "--input", root+"/"+one); got.code != 0 || !strings.HasPrefix(got.stdout, "13 bytes") {
		t.Errorf("from a sharded directory: exit code %d, %q\n%s", got.code, got.stdout, got.stderr)
	}
	if n := sent() - before; n > 256<<10 {
		t.Errorf("fetched %d bytes for one small file of 6,000", n)
	}

	const size, read = 128 << 20, 2 << 20
	large := k.run("add", "-Q", "--progress=false", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", file(t, 22, size))
	before = sent()
	if got := p.try(nil, "run", sparseWasm, "--input", large, "--", fmt.Sprint(read>>20)); got.code != 0 || strings.TrimSpace(got.stdout) != fmt.Sprint(read) {
		t.Errorf("a part of a large file: exit code %d, %q\n%s", got.code, got.stdout, got.stderr)
	}
	if n := sent() - before; n > 4*read {
		t.Errorf("fetched %d bytes for a read of %d", n, read)
	} else {
		t.Logf("fetched %d bytes for a read of %d out of %d", n, read, size)
	}
}
