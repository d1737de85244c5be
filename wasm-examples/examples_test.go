// Package examples runs every example guest and compares its output with the want.json in its
// folder. The test builds the guests in Go; the others are the modules in testdata, so that
// only Go is needed.
//
//	go test ./wasm-examples -update    writes the results to the want.json files
package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

var (
	update = flag.Bool("update", false, "write the results to the want.json files")
	folder = flag.String("with", "", "a folder for built modules and their Outcomes: existing ones are used, and compared")
)

// wanted is a want.json file.
type wanted struct {
	ABI string `json:"abi"`
	// Go says that the module is built here. Its bytes depend on the version of Go, and with
	// them its fuel and the CIDs of Task and Outcome, so those are not compared.
	Go   bool   `json:"go,omitempty"`
	Runs []*run `json:"runs"`
}

// run is one run of an example: its inputs and the expected output.
type run struct {
	Name   string   `json:"name"`
	Inputs []input  `json:"inputs,omitempty"`
	Args   []string `json:"args,omitempty"`
	Want   result   `json:"want"`
}

// input is a path below testdata, or a file made by repeating a text.
type input struct {
	Name   string `json:"name"`
	Path   string `json:"path,omitempty"`
	Repeat string `json:"repeat,omitempty"`
	Times  int    `json:"times,omitempty"`
}

type result struct {
	State   job.State       `json:"state"`
	Code    int             `json:"code,omitempty"`
	Stdout  []string        `json:"stdout,omitempty"` // lines
	Stderr  []string        `json:"stderr,omitempty"`
	Files   map[string]file `json:"files,omitempty"` // of the output, by path: "" if it is one file
	Root    string          `json:"root"`
	Fuel    uint64          `json:"fuel,omitempty"`
	Outcome string          `json:"outcome,omitempty"`
}

// file is a file of an output, with its lines if they are few, for reviewers of a want.json.
type file struct {
	CID   string   `json:"cid"`
	Lines []string `json:"lines,omitempty"`
}

const fewBytes = 2048

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("*/want.json")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d examples have a want.json: %v", len(files), err)
	}
	e, err := wasm.New(t.Context(), wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range files {
		t.Run(filepath.Dir(name), func(t *testing.T) { testExample(t, e, name) })
	}
}

func testExample(t *testing.T, e runtime.Executor, name string) {
	var w wanted
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var blocks dag.MemBlocks
	mod := add(t, &blocks, bytes.NewReader(module(t, filepath.Dir(name), w)))
	for _, r := range w.Runs {
		t.Run(r.Name, func(t *testing.T) {
			have := evaluate(t, e, &blocks, task(t, &blocks, w, r, mod))
			if w.Go {
				compareWith(t, filepath.Base(filepath.Dir(name))+"-"+r.Name, have.Outcome)
				have.Outcome, have.Fuel = "", 0
			}
			if *update {
				r.Want = have
				return
			}
			if diff := cmp.Diff(r.Want, have); diff != "" {
				t.Errorf("(-want +have)\n%s", diff)
			}
		})
	}
	if *update {
		writeJSON(t, name, w)
	}
}

// module returns the bytes of an example's module.
func module(t *testing.T, example string, w wanted) []byte {
	if w.Go {
		return goModule(t, example, w.ABI)
	}
	b, err := os.ReadFile(filepath.Join("testdata", example+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compareWith compares the Outcome of a built module with the one that another process stored
// in the folder, or stores it there.
func compareWith(t *testing.T, name, outcome string) {
	if *folder == "" {
		return
	}
	path := filepath.Join(*folder, strings.ReplaceAll(name, " ", "-")+".outcome")
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		want, err = []byte(outcome), os.WriteFile(path, []byte(outcome), 0o600)
	}
	if err != nil || string(want) != outcome {
		t.Errorf("outcome %s, in the folder %s, %v", outcome, want, err)
	}
}

// goModule builds the guest in dir with the flags of the Makefile, so that both share Go's
// build cache.
func goModule(t *testing.T, dir, abi string) []byte {
	name := filepath.Join(t.TempDir(), "guest.wasm")
	if *folder != "" {
		name = filepath.Join(*folder, dir+".wasm")
		if b, err := os.ReadFile(name); err == nil {
			return b
		}
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", name}
	if abi == job.ABILiftoff {
		args = append(args, "-buildmode=c-shared")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./"+filepath.ToSlash(dir))...)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func task(t *testing.T, blocks dag.Blocks, w wanted, r *run, mod cid.Cid) job.Task {
	task := job.Task{ABI: w.ABI, Mod: mod, Fn: abi.ExportStart, Args: r.Args, Det: job.Det2, Out: job.OutProfile}
	if w.ABI == job.ABILiftoff {
		task.Fn = abi.ExportRun
	}
	for _, in := range r.Inputs {
		task.In = append(task.In, job.Input{Name: in.Name, CID: in.add(t, blocks)})
	}
	return task
}

func (in input) add(t *testing.T, blocks dag.Blocks) cid.Cid {
	if in.Path == "" {
		return add(t, blocks, strings.NewReader(strings.Repeat(in.Repeat, in.Times)))
	}
	e, err := dag.AddTree(t.Context(), blocks, os.DirFS("testdata"), in.Path, dag.TreeOptions{Profile: dag.UnixFSv1})
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

// evaluate runs task twice and requires equal Outcomes.
func evaluate(t *testing.T, e runtime.Executor, blocks dag.Blocks, task job.Task) result {
	var o job.Outcome
	for i := range 2 {
		var live bytes.Buffer
		env := runtime.Env{Blocks: blocks, Scratch: t.TempDir(), Stdout: &live}
		res, err := e.Run(t.Context(), task, job.Limits{}, env)
		if err != nil {
			t.Fatal(err)
		}
		if res.Fault != "" {
			t.Log(res.Fault)
		}
		if i > 0 && outcomeCID(t, res.Outcome) != outcomeCID(t, o) {
			t.Fatalf("two Outcomes of the same Task: %+v and %+v", o, res.Outcome)
		}
		o = res.Outcome
		if stored := text(t, blocks, o.Stdout); stored != live.String() {
			t.Errorf("stdout: printed %q, stored %q", live.String(), stored)
		}
	}
	have := result{
		State: o.State, Code: o.Code, Fuel: o.Fuel, Root: o.Root.String(), Outcome: outcomeCID(t, o).String(),
		Stdout: lines(text(t, blocks, o.Stdout)), Stderr: lines(text(t, blocks, o.Stderr)), Files: map[string]file{},
	}
	listFiles(t, blocks, "", o.Root, have.Files)
	if len(have.Files) == 0 {
		have.Files = nil
	}
	return have
}

// listFiles collects the files at c and below it.
func listFiles(t *testing.T, blocks dag.Blocks, path string, c cid.Cid, files map[string]file) {
	kind, err := dag.Kind(t.Context(), blocks, c)
	if err != nil {
		t.Fatal(err)
	}
	if kind != abi.KindDirectory {
		f := file{CID: c.String()}
		if content := text(t, blocks, c); len(content) <= fewBytes {
			f.Lines = lines(content)
		}
		files[path] = f
		return
	}
	d, err := dag.OpenDir(t.Context(), blocks, c)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Each(t.Context(), func(e dag.DirEntry) error {
		listFiles(t, blocks, strings.TrimPrefix(path+"/"+e.Name, "/"), e.CID, files)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, blocks dag.Blocks, r io.Reader) cid.Cid {
	e, err := dag.AddFile(t.Context(), blocks, r, dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

func outcomeCID(t *testing.T, o job.Outcome) cid.Cid {
	c, err := o.CID()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// text reads a file; cid.Undef is "".
func text(t *testing.T, blocks dag.Blocks, c cid.Cid) string {
	if !c.Defined() {
		return ""
	}
	f, err := dag.OpenFile(t.Context(), blocks, c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	if _, err := f.WriteTo(context.WithoutCancel(t.Context()), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// lines splits s, and marks a missing final newline.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	ls := strings.Split(s, "\n")
	if last := len(ls) - 1; ls[last] == "" {
		return ls[:last]
	}
	return append(ls, "(no newline at the end)")
}

func writeJSON(t *testing.T, name string, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("wrote %s", name)
}
