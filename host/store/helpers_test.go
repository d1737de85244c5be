package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// The test binary is also the second process of tests that need one.
const childEnv = "LIFTOFF_STORE_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(childEnv); how != "" {
		if err := child(how, os.Args[1:]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child runs the code of another process.
func child(how string, args []string) error {
	switch how {
	case "lock":
		return childLocks(args[0])
	case "churn":
		return childChurns(args[0], args[1])
	}
	return errors.New("no such child: " + how)
}

// startChild runs the test binary as a child.
func startChild(t *testing.T, how string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+how)
	cmd.Stderr = os.Stderr
	return cmd
}

func open(t testing.TB, dir string, cfg Config) *Store {
	t.Helper()
	s, err := Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newStore(t testing.TB) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "repo"), Config{})
}

// firstStore creates a repo of the first format, with a file per block.
func firstStore(t testing.TB, blocks ...dag.Block) *Store {
	t.Helper()
	s := newStore(t)
	must(t, s.Close())
	must(t, os.RemoveAll(filepath.Join(s.Dir(), segmentsDir)))
	must(t, os.WriteFile(filepath.Join(s.Dir(), versionFile), []byte("1\n"), 0o600))
	f, err := openFiles(filepath.Join(s.Dir(), blocksDir), false)
	must(t, err)
	for _, b := range blocks {
		must(t, f.Put(b.CID().Hash(), b.Data()))
	}
	must(t, f.Sync())
	must(t, f.Close())
	return open(t, s.Dir(), Config{})
}

// damageBlock flips a bit of b on disk and returns the file.
func damageBlock(t testing.TB, s *Store, b dag.Block) (path string) {
	t.Helper()
	path, at, err := s.combined.large.(segmentStorage).s.Place(b.CID().Hash())
	must(t, err)
	flipBit(t, path, at)
	return path
}

func flipBit(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	must(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// raw makes a block of n bytes that are unique to seed.
func raw(seed uint64, n int) dag.Block { return dag.NewBlock(cid.Raw, noise(seed, n)) }

func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// node makes a DAG-CBOR block: a list of links.
func node(links ...cid.Cid) dag.Block {
	b := []byte{0x98, byte(len(links))} // a list with a length of one byte
	if len(links) < 24 {
		b = []byte{0x80 | byte(len(links))}
	}
	for _, c := range links {
		b = append(b, 0xd8, 42, 0x58, byte(c.ByteLen()+1), 0) // tag 42, bytes: 0 and the CID
		b = append(b, c.Bytes()...)
	}
	return dag.NewBlock(cid.DagCBOR, b)
}

func wantHere(t testing.TB, bs dag.Blocks, blocks ...dag.Block) {
	t.Helper()
	for _, b := range blocks {
		got, err := bs.Get(context.Background(), b.CID())
		if err != nil {
			t.Errorf("get: %v", err)
		} else if got.CID() != b.CID() || !bytes.Equal(got.Data(), b.Data()) {
			t.Errorf("block %s: bytes differ from those put", b.CID())
		}
		if ok, err := bs.Has(context.Background(), b.CID()); !ok || err != nil {
			t.Errorf("has %s: %v, %v", b.CID(), ok, err)
		}
	}
}

func wantGone(t testing.TB, bs dag.Blocks, blocks ...dag.Block) {
	t.Helper()
	for _, b := range blocks {
		var missing *dag.NotFoundError
		if _, err := bs.Get(context.Background(), b.CID()); !errors.As(err, &missing) || missing.CID != b.CID() {
			t.Errorf("get %s: %v, want a NotFoundError", b.CID(), err)
		}
		if ok, err := bs.Has(context.Background(), b.CID()); ok || err != nil {
			t.Errorf("has %s: %v, %v", b.CID(), ok, err)
		}
	}
}

// wantErr checks that an error's text contains parts.
func wantErr(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not contain %q", err, p)
		}
	}
}

// clean checks the whole store and expects no damage.
func clean(t testing.TB, s *Store) Checked {
	t.Helper()
	v, err := s.Check(context.Background(), func(d Damage) { t.Errorf("%s (%s): %v", d.CID, d.Where, d.Err) })
	must(t, err)
	return v
}

// collect runs a collection now.
func collect(t testing.TB, s *Store) Collected {
	t.Helper()
	done, err := s.Collect(context.Background(), time.Now())
	must(t, err)
	return done
}

// tree lists the paths below dir.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	return all
}
