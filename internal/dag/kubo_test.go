package dag

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// kubo is a Kubo binary with its own repo, offline.
type kubo struct {
	bin, repo string
}

// startKubo needs the path of a Kubo binary in LIFTOFF_TEST_KUBO.
func startKubo(t *testing.T, profile string) kubo {
	bin := os.Getenv("LIFTOFF_TEST_KUBO")
	if bin == "" {
		t.Skip("SKIPPED: set LIFTOFF_TEST_KUBO to a Kubo v0.43 binary to compare CIDs with it")
	}
	k := kubo{bin, t.TempDir()}
	k.run(t, nil, "init", "--profile=test,"+profile)
	return k
}

func (k kubo) run(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(k.bin, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off")
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ipfs %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// add adds the sample with Kubo and returns the CID.
func (k kubo) add(t *testing.T, m fstest.MapFS, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	// os.CopyFS needs explicit entries for the directories that MapFS implies.
	if err := os.CopyFS(dir, m); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(k.run(t, nil, append([]string{"add", "-r", "-Q", "--offline", "--pin=false", filepath.Join(dir, "root")}, args...)...))
}

// TestKuboCIDs adds every sample with Kubo and with this package.
func TestKuboCIDs(t *testing.T) {
	var golden strings.Builder
	old := map[string]string{}
	if *update {
		old = readGolden(t)
	}
	for _, p := range []Profile{UnixFSv1, UnixFSv0} {
		k := startKubo(t, p.Name)
		for _, s := range samples() {
			if s.big && os.Getenv("LIFTOFF_TEST_LARGE") == "" {
				if c, ok := old[p.Name+" "+s.name]; ok {
					fmt.Fprintln(&golden, p.Name, s.name, c)
				}
				continue
			}
			t.Run(p.Name+"/"+s.name, func(t *testing.T) {
				m := s.make(p)
				want := k.add(t, m)
				fmt.Fprintln(&golden, p.Name, s.name, want)
				if e := addSample(t, dropBlocks{}, m, p); e.CID.String() != want {
					t.Errorf("got %s, Kubo: %s", e.CID, want)
				}
			})
		}
	}
	if *update {
		if err := os.WriteFile(goldenFile, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKuboDeepTrees makes files many levels deep, with small chunks and narrow nodes, and compares each with Kubo.
func TestKuboDeepTrees(t *testing.T) {
	k := startKubo(t, UnixFSv1.Name)
	for _, raw := range []bool{true, false} {
		p := UnixFSv1
		p.ChunkSize, p.FileWidth, p.RawLeaves = 64, 3, raw
		for _, leaves := range []int{1, 2, 3, 4, 9, 10, 27, 28, 81, 82, 243, 250} {
			for _, extra := range []int{0, 1} {
				data := noise(leaves*64 + extra)
				m := fstest.MapFS{"root": {Data: data, Mode: 0o644}}
				want := k.add(t, m, "--chunker=size-64", "--max-file-links=3", fmt.Sprintf("--raw-leaves=%t", raw))
				var bs MemBlocks
				e, err := AddFile(context.Background(), &bs, bytes.NewReader(data), p)
				if err != nil || e.CID.String() != want {
					t.Errorf("%d bytes, raw leaves %t: got %s (%v), Kubo: %s", len(data), raw, e.CID, err, want)
				}
			}
		}
	}
}

// TestKuboReads imports a CAR of this package into Kubo and reads every file and name with it.
func TestKuboReads(t *testing.T) {
	for _, p := range []Profile{UnixFSv1, UnixFSv0} {
		for _, version := range []int{1, 2} {
			k := startKubo(t, p.Name)
			var bs MemBlocks
			m := nested(p)
			e := addSample(t, &bs, m, p)
			var car bytes.Buffer
			if err := WriteCAR(context.Background(), &car, &bs, cids(e.CID), CAROptions{Version: version}); err != nil {
				t.Fatal(err)
			}
			k.run(t, car.Bytes(), "dag", "import", "--offline")
			out := filepath.Join(t.TempDir(), "out")
			k.run(t, nil, "get", "--offline", "-o", out, e.CID.String())
			got := os.DirFS(out)
			for name, f := range m {
				below, ok := strings.CutPrefix(name, "root/")
				if !ok || !f.Mode.IsRegular() || strings.Contains(name, "/.") {
					continue
				}
				if b, err := fs.ReadFile(got, below); err != nil || !bytes.Equal(b, f.Data) {
					t.Errorf("%s: Kubo reads %d bytes (%v), want %d", name, len(b), err, len(f.Data))
				}
			}
		}
	}
}

// TestKuboWrites reads DAGs that Kubo makes in ways that this package does not use.
func TestKuboWrites(t *testing.T) {
	k := startKubo(t, UnixFSv1.Name)
	tree := manyFiles(50)(UnixFSv1)
	for name, f := range nested(UnixFSv1) {
		if !strings.Contains(name, "/.") {
			tree[name] = f
		}
	}
	for i := range 3000 {
		tree[fmt.Sprintf("root/wide/%04d-%s", i, strings.Repeat("n", 90))] = &fstest.MapFile{Data: fmt.Append(nil, i), Mode: 0o644}
	}
	for _, args := range []string{
		"--trickle --chunker=size-1000 --max-file-links=5",
		"--trickle --chunker=size-1000 --raw-leaves=false",
		"--inline --inline-limit=100",
		"--hash=blake3",
		"--hash=sha2-512 --chunker=rabin",
		"--chunker=buzhash --raw-leaves=false",
		"--max-hamt-fanout=16 --max-directory-links=20",
		"--preserve-mode --preserve-mtime --cid-version=0 --raw-leaves=false",
	} {
		t.Run(args, func(t *testing.T) {
			root, err := ParsePath(k.add(t, tree, strings.Fields(args)...))
			if err != nil {
				t.Fatal(err)
			}
			bs := new(MemBlocks)
			exported := k.run(t, nil, "dag", "export", "--offline", root.String())
			roots, err := ReadCAR(ctx, strings.NewReader(exported), func(b Block) error { return bs.Put(ctx, b) })
			if err != nil || len(roots) != 1 || roots[0] != root.Root {
				t.Fatalf("roots %v, %v", roots, err)
			}
			if e, err := Count(ctx, bs, root.Root); err != nil || !e.Exact {
				t.Errorf("%+v, %v", e, err)
			}
			got := map[string]string{}
			readTree(t, bs, root.Root, "root", got)
			for name, f := range tree {
				want := string(f.Data)
				if f.Mode&fs.ModeSymlink != 0 {
					want = "-> " + want
				}
				if f.Mode.IsDir() {
					name += "/"
				}
				if have, ok := got[name]; !ok || have != want {
					t.Errorf("%s: %d bytes, want %d", name, len(have), len(want))
				}
				if !f.Mode.IsDir() {
					at := Path{root.Root, strings.Split(strings.TrimPrefix(name, "root/"), "/")}
					if _, err := Resolve(ctx, bs, at); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}
