package abi

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDoc compares docs/abi.md with the tables in the code: names, parameters and errors of
// every call, and every error number.
func TestDoc(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "abi.md"))
	if err != nil {
		t.Fatal(err)
	}
	var calls, errnos [][]string
	section := ""
	for line := range strings.Lines(string(doc)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(name)
			continue
		}
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch section {
		case "Calls":
			calls = append(calls, cells)
		case "Errors":
			errnos = append(errnos, cells)
		}
	}

	if len(calls)-1 != len(Calls) {
		t.Fatalf("docs/abi.md has %d calls, want %d", len(calls)-1, len(Calls))
	}
	for i, c := range Calls {
		row := calls[i+1]
		if row[0] != "`"+c.Name+"`" {
			t.Errorf("docs/abi.md: row %d is %s, call %d is %s", i, row[0], i, c.Name)
			continue
		}
		var params []string
		for _, p := range c.Params {
			typ := map[ValueType]string{I32: "i32", I64: "i64"}[p.Type]
			params = append(params, p.Name+" "+typ)
		}
		if want := strings.Join(params, ", "); row[1] != want {
			t.Errorf("%s: docs/abi.md has params %q, want %q", c.Name, row[1], want)
		}
		var names []string
		for _, e := range c.Errors {
			names = append(names, e.String())
		}
		if want := strings.Join(names, " "); row[3] != want {
			t.Errorf("%s: docs/abi.md has errors %q, want %q", c.Name, row[3], want)
		}
	}

	if len(errnos)-1 != len(errnoNames) {
		t.Errorf("docs/abi.md has %d errors, want %d", len(errnos)-1, len(errnoNames))
	}
	for _, row := range errnos[1:] {
		n, err := strconv.Atoi(row[0])
		if err != nil || Errno(n).String() != row[1] {
			t.Errorf("error %s: docs/abi.md has %s, want %s", row[0], row[1], Errno(n))
		}
	}
}

// TestNames checks that every toolchain can use the names: valid in C, and unique.
func TestNames(t *testing.T) {
	ok := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, c := range Calls {
		if !ok.MatchString(c.Name) || seen[c.Name] {
			t.Errorf("call %q", c.Name)
		}
		seen[c.Name] = true
	}
}
