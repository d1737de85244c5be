package abi

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDoc holds docs/abi.md to the table in the code: names, parameters and errors of
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
		t.Fatalf("the page has %d calls, the code %d", len(calls)-1, len(Calls))
	}
	for i, c := range Calls {
		row := calls[i+1]
		if row[0] != "`"+c.Name+"`" {
			t.Errorf("row %d of the page is %s, call %d is %s", i, row[0], i, c.Name)
			continue
		}
		var params []string
		for _, p := range c.Params {
			typ := map[ValueType]string{I32: "i32", I64: "i64"}[p.Type]
			params = append(params, p.Name+" "+typ)
		}
		if want := strings.Join(params, ", "); row[1] != want {
			t.Errorf("%s: the page's params are %q, the code's %q", c.Name, row[1], want)
		}
		var names []string
		for _, e := range c.Errors {
			names = append(names, e.String())
		}
		if want := strings.Join(names, " "); row[3] != want {
			t.Errorf("%s: the page's errors are %q, the code's %q", c.Name, row[3], want)
		}
	}

	if len(errnos)-1 != len(errnoNames) {
		t.Errorf("the page has %d errors, the code %d", len(errnos)-1, len(errnoNames))
	}
	for _, row := range errnos[1:] {
		n, err := strconv.Atoi(row[0])
		if err != nil || Errno(n).String() != row[1] {
			t.Errorf("error %s is %s on the page, %s in the code", row[0], row[1], Errno(n))
		}
	}
}

// TestNames keeps the table fit for every toolchain: names that C can hold, each once.
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
