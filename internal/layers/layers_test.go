package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ipfs-liftoff/liftoff"

// layers gives the layer of a package, or of all packages below it. A package imports only
// lower layers; packages of one layer do not import each other, except that a nested package
// belongs to its parent.
var layers = map[string]int{
	"cmd":                 6,
	"node":                5,
	"host":                4,
	"runtime/wasm":        4,
	"runtime/plugin":      4,
	"runtime/docker":      4,
	"runtime/plugin/wire": 3,
	"scheduler":           3,
	"runtime":             3,
	"runtime/runtimetest": 3,
	"runtime/wasm/wasi":   4,
	"runtime/wasm/meter":  3,
	"runtime/wasm/fuel":   3,
	"host/store":          3,
	"host/store/ledger":   3,
	"host/cluster":        3,
	"host/gate":           3,
	"host/smallfile":      2,
	"host/store/segment":  3,
	"node/api":            3,
	"internal/dag":        2,
	"job":                 1,
	"internal/crc32c":     1,
	"internal/units":      0,
	"internal/ui":         1,
	"internal/diskfs":     1,
	"internal/sha256x2":   1,
	"abi":                 1,
	"abi/go":              1,
	"internal/e2e":        6,
	"internal/netlab":     0,
	"internal/layers":     0,
	"internal/words":      0,
}

// nested lists packages that are part of another one: they may import each other as the parts
// of one package do.
var nested = map[string]string{
	"runtime/wasm/wasi":   "runtime/wasm",
	"host/store/ledger":   "host/store",
	"host/cluster":        "host",
	"host/gate":           "host",
	"host/smallfile":      "host",
	"host/store/segment":  "host/store",
	"runtime/runtimetest": "runtime",
	"runtime/plugin/wire": "runtime/plugin",
	"abi/go":              "abi",
}

// only lists which packages may import a library, by the library's path prefix.
var only = []struct {
	library string
	in      []string
}{
	{"github.com/tetratelabs/wazero", []string{"runtime/wasm"}},
	{"github.com/libp2p/", []string{"host", "node"}},
	{"github.com/ipfs/boxo", []string{"host"}},
	{"github.com/docker/", []string{"runtime/docker"}},
	{"github.com/moby/", []string{"runtime/docker"}},
	{"github.com/urfave/cli", []string{"cmd"}},
	{"flag", []string{"cmd"}},
}

// pure lists what a package never imports.
var pure = map[string][]string{
	"abi":       {module},
	"job":       {module},
	"scheduler": {"context", "net", "os", "sync", "github.com/libp2p/"},
}

// calls lists functions that only some packages may call.
var calls = []struct {
	name string
	in   []string
}{
	{"os.Getenv", []string{"cmd", "internal/netlab"}}, // used only by tests: whether to run the lab
	{"os.LookupEnv", []string{"cmd"}},
	{"os.Exit", []string{"cmd"}},
}

// clockless lists the packages that never read the time.
var clockless = []string{"abi", "job", "scheduler", "runtime/wasm/meter", "internal/dag"}

func TestLayers(t *testing.T) {
	for pkg, files := range sources(t) {
		for _, f := range files {
			checkImports(t, pkg, f)
			checkCalls(t, pkg, f)
		}
	}
}

// TestCheckerSees checks sources that break each rule: a checker that accepts everything would
// accept the tree, too.
func TestCheckerSees(t *testing.T) {
	for _, c := range []struct{ pkg, src string }{
		{"job", `package job; import _ "` + module + `/runtime"`},
		{"abi", `package abi; import _ "` + module + `/job"`},
		{"internal/dag", `package dag; import _ "` + module + `/host/store"`},
		{"runtime/wasm", `package wasm; import _ "` + module + `/host"`},
		{"host/store", `package store; import _ "` + module + `/node/api"`},
		{"node", `package node; import _ "github.com/tetratelabs/wazero"`},
		{"runtime", `package runtime; import _ "github.com/ipfs/boxo/ipld/unixfs"`},
		{"node", `package node; import _ "flag"`},
		{"node", `package node; import "os"; func f() { os.Getenv("X") }`},
		{"job", `package job; import "time"; var now = time.Now()`},
		{"somewhere/new", `package new`},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", c.src, 0)
		if err != nil {
			t.Fatal(err)
		}
		var seen recorder
		checkImports(&seen, c.pkg, file{"x.go", f})
		checkCalls(&seen, c.pkg, file{"x.go", f})
		if len(seen) == 0 {
			t.Errorf("no error for %s: %s", c.pkg, c.src)
		}
	}
}

type reporter interface{ Errorf(string, ...any) }

type recorder []string

func (r *recorder) Errorf(format string, _ ...any) { *r = append(*r, format) }

type file struct {
	name string
	ast  *ast.File
}

// sources parses every Go file of the module that is not a test, by package path. Guests
// (wasm-examples, testdata) are separate programs and excluded.
func sources(t *testing.T) map[string][]file {
	t.Helper()
	root := filepath.Join("..", "..")
	pkgs := map[string][]file{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch base := d.Name(); {
			case base == "testdata", base == "wasm-examples", base == "bin", base == "dist",
				strings.HasPrefix(base, ".") && name != root:
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		pkgs[pkg] = append(pkgs[pkg], file{name, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 5 {
		t.Fatalf("only %d packages found below %s", len(pkgs), root)
	}
	return pkgs
}

// layerOf returns the layer of pkg: its own, or that of the nearest folder above it.
func layerOf(pkg string) (layer int, owner string, ok bool) {
	for p := pkg; p != "."; p = path.Dir(p) {
		if f, ok := layers[p]; ok {
			return f, p, true
		}
	}
	return 0, "", false
}

func checkImports(t reporter, pkg string, f file) {
	layer, owner, ok := layerOf(pkg)
	if !ok {
		t.Errorf("%s: package %s has no layer: add it here", f.name, pkg)
		return
	}
	for _, spec := range f.ast.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		for _, never := range pure[owner] {
			if within(imp, never) {
				t.Errorf("%s: %s must not import %s", f.name, owner, imp)
			}
		}
		for _, rule := range only {
			if within(imp, rule.library) && !allowed(pkg, rule.in) {
				t.Errorf("%s: %s may not import %s: only %v may", f.name, pkg, imp, rule.in)
			}
		}
		if !within(imp, module) {
			continue
		}
		rel := strings.TrimPrefix(imp, module+"/")
		other, otherOwner, ok := layerOf(rel)
		if !ok || otherOwner == owner || nested[otherOwner] == owner || nested[owner] == otherOwner {
			continue
		}
		if other >= layer {
			t.Errorf("%s: %s (layer %d) imports %s (layer %d)", f.name, pkg, layer, rel, other)
		}
	}
}

func checkCalls(t reporter, pkg string, f file) {
	_, owner, _ := layerOf(pkg)
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		name := x.Name + "." + sel.Sel.Name
		for _, c := range calls {
			if name == c.name && !allowed(pkg, c.in) {
				t.Errorf("%s: %s may not call %s: only %v may", f.name, pkg, name, c.in)
			}
		}
		if name == "time.Now" || name == "time.Since" {
			for _, p := range clockless {
				if owner == p {
					t.Errorf("%s: %s must not read the time", f.name, pkg)
				}
			}
		}
		return true
	})
}

// within reports whether the import path imp is lib or below it. A lib that ends in a slash is
// a prefix.
func within(imp, lib string) bool {
	return imp == lib || strings.HasPrefix(imp, strings.TrimSuffix(lib, "/")+"/")
}

// allowed reports whether pkg is one of pkgs or nested in one, on the same layer.
func allowed(pkg string, pkgs []string) bool {
	_, owner, _ := layerOf(pkg)
	for _, p := range pkgs {
		if owner == p || nested[owner] == p || owner == "" && pkg == p {
			return true
		}
	}
	return false
}

// TestSourcesAreRead checks the directory walk itself.
func TestSourcesAreRead(t *testing.T) {
	if _, err := os.Stat(filepath.Join("..", "..", "go.mod")); err != nil {
		t.Fatal(err)
	}
	if len(sources(t)["job"]) == 0 {
		t.Error("package job not found")
	}
}

// apart lists packages that a program must not link, directly or indirectly.
var apart = map[string][]string{
	"cmd/liftoff": {"runtime/docker", "runtime/docker/dockertest", "runtime/runtimetest", "internal/e2e"},
}

// TestApart follows the imports of programs: the docker plugin adds nothing to liftoff.
func TestApart(t *testing.T) {
	pkgs := sources(t)
	for program, others := range apart {
		linked := map[string]bool{}
		link(pkgs, program, linked)
		if !linked["node"] && program == "cmd/liftoff" {
			t.Errorf("%s does not link node: imports are not followed", program)
		}
		for _, other := range others {
			if linked[other] {
				t.Errorf("%s links %s", program, other)
			}
		}
	}
	linked := map[string]bool{}
	if link(pkgs, "cmd/liftoff-executor-docker", linked); !linked["runtime/docker"] {
		t.Error("the docker plugin does not link runtime/docker: imports are not followed")
	}
}

// link adds pkg and its imports within the module.
func link(pkgs map[string][]file, pkg string, linked map[string]bool) {
	if linked[pkg] {
		return
	}
	linked[pkg] = true
	for _, f := range pkgs[pkg] {
		for _, spec := range f.ast.Imports {
			if imp, err := strconv.Unquote(spec.Path.Value); err == nil && strings.HasPrefix(imp, module+"/") {
				link(pkgs, strings.TrimPrefix(imp, module+"/"), linked)
			}
		}
	}
}
