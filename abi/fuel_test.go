package abi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFuelTable compares all prices in fuel.go with the table in docs/abi.md.
func TestFuelTable(t *testing.T) {
	prices := map[string]string{}
	f, err := parser.ParseFile(token.NewFileSet(), "fuel.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			prices[v.Names[0].Name] = v.Values[0].(*ast.BasicLit).Value
		}
		return true
	})
	if len(prices) < 10 {
		t.Fatalf("prices of fuel.go: got %v", prices)
	}
	doc, err := os.ReadFile(filepath.Join("..", "docs", "abi.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Fuel\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(cells[1], " `Fuel") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		if got := strings.TrimSpace(cells[2]); got != prices[name] {
			t.Errorf("%s: docs/abi.md has %s, want %s", name, got, prices[name])
		}
		delete(prices, name)
	}
	for name := range prices {
		t.Errorf("%s: missing in docs/abi.md", name)
	}
}

func TestFuelCopy(t *testing.T) {
	for n, want := range map[uint64]uint64{0: 0, 1: 1, 15: 1, 16: 1, 17: 2, 1<<64 - 1: 1 << 60} {
		if got := FuelCopy(n); got != want {
			t.Errorf("copying %d bytes costs %d, want %d", n, got, want)
		}
	}
}
