package abi

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The SDKs declare the calls in three languages. Each is parsed here as text and reduced to
// "name(i32 i64)", so that none can differ from Calls.

func TestSDKCalls(t *testing.T) {
	var want []string
	for _, c := range Calls {
		var types []string
		for _, p := range c.Params {
			types = append(types, map[ValueType]string{I32: "i32", I64: "i64"}[p.Type])
		}
		want = append(want, signature(c.Name, types))
	}
	for _, sdk := range []struct {
		lang string
		have []string
	}{
		{"go", goCalls(t, "go/host.go")},
		{"c", cCalls(t, "c/liftoff.h")},
		{"rust", rustCalls(t, "rust/liftoff.rs")},
	} {
		t.Run(sdk.lang, func(t *testing.T) {
			// C groups its declarations by topic: the order is not part of the contract.
			if diff := cmp.Diff(counted(want), counted(sdk.have)); diff != "" {
				t.Errorf("declarations (-abi.Calls +sdk):\n%s", diff)
			}
		})
	}
}

func TestSDKErrnos(t *testing.T) {
	want := map[string]int{}
	for e, name := range errnoNames {
		want[name] = int(e)
	}
	for _, sdk := range []struct{ file, pattern string }{
		{"c/liftoff.h", `(?m)^\tLIFTOFF_(\w+) = (\d+),? .*/\*`},
		{"rust/liftoff.rs", `pub const (\w+): Errno = Errno\((\d+)\);`},
	} {
		have := map[string]int{}
		text := read(t, sdk.file)
		if enum := regexp.MustCompile(`(?s)enum liftoff_errno \{.*?\};`).FindString(text); enum != "" {
			text = enum
		}
		for _, m := range regexp.MustCompile(sdk.pattern).FindAllStringSubmatch(text, -1) {
			have[m[1]], _ = strconv.Atoi(m[2])
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-abi +sdk):\n%s", sdk.file, diff)
		}
	}
}

// TestSDKErrnoText compares Rust's table of names with the numbers.
func TestSDKErrnoText(t *testing.T) {
	list := regexp.MustCompile(`(?s)let names = \[(.*?)\];`).FindStringSubmatch(read(t, "rust/liftoff.rs"))
	if list == nil {
		t.Fatal("rust/liftoff.rs: no table of names")
	}
	names := regexp.MustCompile(`"(\w*)"`).FindAllStringSubmatch(list[1], -1)
	for e, name := range errnoNames {
		if int(e) >= len(names) || names[e][1] != name {
			t.Errorf("rust/liftoff.rs does not print %d as %s", e, name)
		}
	}
}

// goCalls parses the functions that have a go:wasmimport line.
func goCalls(t *testing.T, name string) (calls []string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body != nil {
			continue
		}
		imp := regexp.MustCompile(`//go:wasmimport ` + Module + ` (\w+)`).FindStringSubmatch(directives(fn.Doc))
		if imp == nil {
			t.Errorf("%s: %s has no body and no import", name, fn.Name)
			continue
		}
		var params []string
		for _, p := range fn.Type.Params.List {
			for range max(len(p.Names), 1) {
				params = append(params, types.ExprString(p.Type))
			}
		}
		if r := fn.Type.Results; r == nil || len(r.List) != 1 || types.ExprString(r.List[0].Type) != "int64" {
			t.Errorf("%s: %s does not return an int64", name, fn.Name)
		}
		calls = append(calls, signature(imp[1], wasmTypes(t, params)))
	}
	return calls
}

func directives(doc *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range doc.List {
		fmt.Fprintln(&b, c.Text)
	}
	return b.String()
}

var cDecl = regexp.MustCompile(`(?m)^LIFTOFF_CALL\((\w+)\) int64_t liftoff_(\w+)\(([^)]*)\);$`)

func cCalls(t *testing.T, name string) (calls []string) {
	if !strings.Contains(read(t, name), `import_module("`+Module+`")`) {
		t.Errorf("%s imports from another module than %s", name, Module)
	}
	for _, m := range cDecl.FindAllStringSubmatch(read(t, name), -1) {
		if m[1] != m[2] {
			t.Errorf("%s: liftoff_%s imports %s", name, m[2], m[1])
		}
		var params []string
		for p := range strings.SplitSeq(m[3], ", ") {
			if p != "void" {
				// All except the last word: "const void *ptr" is a const void *.
				params = append(params, strings.TrimRight(p, "abcdefghijklmnopqrstuvwxyz_"))
			}
		}
		calls = append(calls, signature(m[1], wasmTypes(t, params)))
	}
	return calls
}

var (
	rustBlock = regexp.MustCompile(`(?s)#\[link\(wasm_import_module = "` + Module + `"\)\]\s*extern "C" \{(.*?)\}`)
	rustDecl  = regexp.MustCompile(`pub fn (\w+)\(([^)]*)\) -> i64;`)
)

func rustCalls(t *testing.T, name string) (calls []string) {
	block := rustBlock.FindStringSubmatch(read(t, name))
	if block == nil {
		t.Fatalf("%s: no link to module %s", name, Module)
	}
	for _, m := range rustDecl.FindAllStringSubmatch(block[1], -1) {
		var params []string
		for p := range strings.SplitSeq(m[2], ", ") {
			if _, typ, ok := strings.Cut(p, ": "); ok {
				params = append(params, typ)
			}
		}
		calls = append(calls, signature(m[1], wasmTypes(t, params)))
	}
	return calls
}

// wasmTypes maps the parameter types of any of the languages to WebAssembly types.
func wasmTypes(t *testing.T, params []string) (types []string) {
	for _, p := range params {
		switch p = strings.TrimSpace(p); {
		case strings.Contains(p, "*"), p == "unsafe.Pointer", p == "uint32", p == "uint32_t", p == "u32":
			types = append(types, "i32")
		case p == "int64", p == "uint64_t", p == "u64":
			types = append(types, "i64")
		default:
			t.Errorf("unknown parameter type %q", p)
		}
	}
	return types
}

func signature(name string, types []string) string {
	return name + "(" + strings.Join(types, " ") + ")"
}

func counted(calls []string) map[string]int {
	count := map[string]int{}
	for _, c := range calls {
		count[c]++
	}
	return count
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
