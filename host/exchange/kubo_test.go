package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// kubo is a Kubo daemon on loopback that dials no peer by itself.
type kubo struct {
	program, repo string
	info          peer.AddrInfo
}

// newKubo starts the binary that LIFTOFF_TEST_KUBO names.
func newKubo(t testing.TB) *kubo {
	t.Helper()
	program := os.Getenv("LIFTOFF_TEST_KUBO")
	if program == "" {
		t.Skip("LIFTOFF_TEST_KUBO does not name an ipfs program: bitswap with Kubo is NOT tested")
	}
	k := &kubo{program: program, repo: filepath.Join(t.TempDir(), "kubo")}
	k.run(t, nil, "init", "--profile=test")
	for key, value := range map[string]string{
		"AutoConf.Enabled": "false", "Bootstrap": "[]", "DNS.Resolvers": "{}", "Routing.DelegatedRouters": "[]",
		"Ipns.DelegatedPublishers": "[]", "Routing.Type": `"none"`, "AutoTLS.Enabled": "false",
		"Addresses.Swarm": `["/ip4/127.0.0.1/tcp/0"]`, "Addresses.Gateway": "[]", "Addresses.API": `"/ip4/127.0.0.1/tcp/0"`,
	} {
		k.run(t, nil, "config", "--json", key, value)
	}
	cmd := k.command("daemon")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s", log.Bytes())
		}
	})
	eventually(t, "Kubo listens", func() bool { // an earlier command would take the repo's lock
		_, err := os.Stat(filepath.Join(k.repo, "api"))
		return err == nil
	})
	eventually(t, "Kubo answers", func() bool { return k.command("swarm", "addrs", "local").Run() == nil })
	var id struct{ Addresses []string }
	if err := json.Unmarshal(k.run(t, nil, "id"), &id); err != nil {
		t.Fatal(err)
	}
	for _, a := range id.Addresses {
		p, err := peer.AddrInfoFromString(a)
		if err != nil {
			t.Fatal(err)
		}
		k.info.ID, k.info.Addrs = p.ID, append(k.info.Addrs, p.Addrs...)
	}
	if len(k.info.Addrs) == 0 {
		t.Fatal("Kubo has no listen address")
	}
	return k
}

func (k *kubo) command(args ...string) *exec.Cmd {
	cmd := exec.Command(k.program, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off")
	return cmd
}

func (k *kubo) run(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	out, err := k.try(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (k *kubo) try(stdin []byte, args ...string) ([]byte, error) {
	cmd := k.command(args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ipfs %s: %w: %s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out, nil
}

func (k *kubo) add(t testing.TB, data []byte, args ...string) cid.Cid {
	t.Helper()
	out := k.run(t, data, append([]string{"add", "-Q", "--pin=false"}, args...)...)
	c, err := cid.Decode(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFromKubo reads blocks that only a Kubo node has, over bitswap, each block when it is wanted.
func TestFromKubo(t *testing.T) {
	k := newKubo(t)
	h := newHost(t)
	x := newExchange(t, h, Config{Blocks: new(dag.MemBlocks), Bitswap: true, Wait: 5 * time.Second})
	session := func() *Session {
		s := x.Session(SessionConfig{Local: new(dag.MemBlocks), Sources: []peer.AddrInfo{k.info}})
		t.Cleanup(s.Close)
		return s
	}
	for i, args := range [][]string{
		{"--cid-version=0"},
		{"--cid-version=1", "--raw-leaves", "--chunker=size-262144"},
		{"--cid-version=1", "--raw-leaves", "--chunker=size-1048576"},
		{"--cid-version=1", "--hash=blake3"},
		{"--cid-version=1", "--hash=sha2-512"},
		{"--cid-version=1", "--hash=blake2b-256"},
		{"--cid-version=1", "--raw-leaves=false", "--trickle"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			data := noise(5<<20+i, byte(10+i))
			root := k.add(t, data, args...)
			if got := readFile(t, session(), root); !bytes.Equal(got, data) {
				t.Error("file differs")
			}
		})
	}
	t.Run("sharded directory", func(t *testing.T) {
		dir := t.TempDir()
		for i := range 2000 {
			name := fmt.Sprintf("a file whose name is long enough to make the directory a sharded one %04d", i)
			if err := os.WriteFile(filepath.Join(dir, name), fmt.Append(nil, i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out := k.run(t, nil, "add", "-Q", "-r", "--cid-version=1", "--pin=false", "--max-hamt-fanout=256", dir)
		root := cid.MustParse(strings.TrimSpace(string(out)))
		s := session()
		name := "a file whose name is long enough to make the directory a sharded one 1234"
		e, err := dag.Resolve(t.Context(), s, dag.Path{Root: root, Segments: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, s, e.CID); string(got) != "1234" {
			t.Errorf("got %q", got)
		}
		if n := s.Fetched().Blocks; n > 10 {
			t.Errorf("fetched %d blocks for one file of 2,000", n)
		}
	})
	t.Run("a part", func(t *testing.T) {
		data := noise(64<<20, 30)
		root := k.add(t, data, "--cid-version=1")
		s := session()
		f, err := dag.OpenFile(t.Context(), s, root)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 100)
		if _, err := f.ReadAt(t.Context(), b, 33<<20); err != nil || !bytes.Equal(b, data[33<<20:][:100]) {
			t.Errorf("part differs: %v", err)
		}
		if n := s.Fetched().Bytes; n > 2<<20 {
			t.Errorf("fetched %d bytes for 100", n)
		}
		if held, err := session().Has(t.Context(), root); !held || err != nil {
			t.Errorf("has: %v, %v", held, err)
		}
	})
	t.Run("not there", func(t *testing.T) {
		_, err := session().Get(t.Context(), randomBlock(10).CID())
		if err == nil || !strings.Contains(err.Error(), k.info.ID.String()) {
			t.Errorf("%v", err)
		}
	})
}

// TestToKubo has Kubo fetch published blocks, and no others.
func TestToKubo(t *testing.T) {
	k := newKubo(t)
	h := newHost(t)
	st, err := store.Open(t.TempDir(), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	pub, err := OpenPublished(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	access := NewAccess(AccessConfig{Blocks: st, Published: pub, Allows: func(p peer.ID, a host.Action) bool {
		return p == k.info.ID && host.Allows(host.Content, a)
	}})
	newExchange(t, h, Config{Blocks: st, Access: access, Bitswap: true})
	k.run(t, nil, "swarm", "connect", h.Addrs()[0].Encapsulate(multiaddr.StringCast("/p2p/"+h.ID().String())).String())

	roots := map[string]cid.Cid{}
	want := map[string][]byte{}
	for name, p := range map[string]dag.Profile{
		"v1": dag.UnixFSv1, "v0": dag.UnixFSv0,
		"256 KiB": {Name: "x", CIDVersion: 1, ChunkSize: 256 << 10, RawLeaves: true, FileWidth: 174},
	} {
		want[name] = noise(5<<20, byte(len(name)))
		roots[name] = addFile(t, st, want[name], p)
	}
	for name, mh := range map[string]uint64{"blake3": 0x1e, "sha2-512": 0x13} {
		b, err := dag.NewBlockPrefix(cid.Prefix{Version: 1, Codec: cid.Raw, MhType: mh, MhLength: -1}, noise(300_000, 9))
		if err != nil {
			t.Fatal(err)
		}
		put(t, st, b)
		roots[name], want[name] = b.CID(), b.Data()
	}
	secret := addFile(t, st, []byte("not published"), dag.UnixFSv1)
	for _, c := range roots {
		if err := pub.Publish(t.Context(), c, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range roots {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		got, err := exec.CommandContext(ctx, k.program, "--repo-dir="+k.repo, "cat", c.String()).Output()
		cancel()
		if err != nil || !bytes.Equal(got, want[name]) {
			t.Errorf("%s: got %d bytes, want %d, %v", name, len(got), len(want[name]), err)
		}
	}
	if _, err := k.try(nil, "--timeout=2s", "block", "get", secret.String()); err == nil {
		t.Error("Kubo got an unpublished block")
	}
	if was, err := pub.Unpublish(t.Context(), roots["v1"]); !was || err != nil {
		t.Fatal(was, err)
	}
	k.run(t, nil, "repo", "gc")
	if _, err := k.try(nil, "--timeout=2s", "block", "get", roots["v1"].String()); err == nil {
		t.Error("Kubo got a block that is not published any more")
	}
}
