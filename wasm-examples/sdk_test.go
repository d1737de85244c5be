package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// TestSDKs runs one guest in three languages. Each makes every call of the ABI and outputs a
// transcript of the answers, which must equal testdata/sdk/transcript.
func TestSDKs(t *testing.T) {
	want := filepath.Join("testdata", "sdk", "transcript")
	e, err := wasm.New(t.Context(), wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, lang := range []string{"go", "c", "rust"} {
		t.Run(lang, func(t *testing.T) {
			var blocks dag.MemBlocks
			have := transcript(t, e, &blocks, sdkModule(t, lang))
			if *update && lang == "go" {
				if err := os.WriteFile(want, []byte(have), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(b), have); diff != "" {
				t.Errorf("(-want +have)\n%s", diff)
			}
		})
	}
}

func sdkModule(t *testing.T, lang string) []byte {
	if lang != "go" {
		b, err := os.ReadFile(filepath.Join("testdata", "sdk-"+lang+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return goModule(t, filepath.Join("testdata", "sdk", "go"), job.ABILiftoff)
}

// transcript runs a guest over a tree with every kind of object and a file of three leaves.
func transcript(t *testing.T, e runtime.Executor, blocks *dag.MemBlocks, module []byte) string {
	mod := add(t, blocks, strings.NewReader(string(module)))
	large := add(t, blocks, strings.NewReader(strings.Repeat("a line of the file\n", 120000)))
	task := task(t, blocks, wanted{ABI: job.ABILiftoff}, &run{Args: []string{"one", "", "three"}}, mod)
	task.In = []job.Input{{Name: "tree", CID: sdkTree(t, blocks)}, {CID: large}}
	task.Env = map[string]string{"B": "x y", "A": "1"}

	var hints int
	env := runtime.Env{Blocks: blocks, Scratch: t.TempDir(), Progress: func(done, total int64) {
		if done != 1 || total != 2 {
			t.Errorf("progress %d of %d, want 1 of 2", done, total)
		}
		hints++
	}}
	res, err := e.Run(t.Context(), task, job.Limits{}, env)
	if err != nil {
		t.Fatal(err)
	}
	if hints != 1 {
		t.Errorf("%d progress reports, want 1", hints)
	}
	stderr := text(t, blocks, res.Outcome.Stderr)
	if stderr != "a line\n" {
		t.Errorf("stderr: got %q", stderr)
	}
	if res.Outcome.State != job.OK {
		t.Fatalf("%s %d: %s", res.Outcome.State, res.Outcome.Code, res.Fault)
	}
	files := map[string]file{}
	listFiles(t, blocks, "", res.Outcome.Root, files)
	if have := files["copies/file"].CID; have != large.String() || len(files) != 2 {
		t.Errorf("output: got %v, want the second input as copies/file", files)
	}
	c, err := cid.Decode(files["transcript"].CID)
	if err != nil {
		t.Fatal(err)
	}
	return text(t, blocks, c)
}

// sdkTree creates a directory with a file, a directory, a symlink, a name outside of ASCII, and
// a name longer than the initial buffer of an SDK.
func sdkTree(t *testing.T, blocks dag.Blocks) cid.Cid {
	ctx, p := t.Context(), dag.UnixFSv1
	top, sub := dag.NewDirWriter(blocks, p), dag.NewDirWriter(blocks, p)
	put := func(d *dag.DirWriter, name string, e dag.Entry, err error) {
		if err == nil {
			err = d.Add(name, e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(d *dag.DirWriter, name, content string) {
		e, err := dag.AddFile(ctx, blocks, strings.NewReader(content), p)
		put(d, name, e, err)
	}
	file(top, "a", "a file\n")
	file(top, "größe", "")
	file(top, strings.Repeat("long", 100), "")
	link, err := dag.AddSymlink(ctx, blocks, "dir/c", p)
	put(top, "link", link, err)
	file(sub, "c", "c below dir")
	dir, err := sub.Finish(ctx)
	put(top, "dir", dir, err)
	e, err := top.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}
