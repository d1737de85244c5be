package api

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDocs compares docs/api.md with the code: every route, every frame type, every code.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	var said []string
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:GET|PUT|POST|DELETE) [^`]*)` \\|").FindAllStringSubmatch(doc, -1) {
		said = append(said, m[1])
	}
	want := []string{"POST /v1/attach", "GET /health"}
	for pattern := range NewHandler(nil).calls() {
		want = append(want, pattern)
	}
	for _, r := range want {
		if !slices.Contains(said, r) {
			t.Errorf("docs/api.md: %s is missing", r)
		}
	}
	for _, r := range said {
		if !slices.Contains(want, r) {
			t.Errorf("docs/api.md: %s does not exist in the code", r)
		}
	}
	for code, status := range statusOf {
		if !strings.Contains(doc, "\n| `"+string(code)+"` | "+strconv.Itoa(status)+" |") {
			t.Errorf("docs/api.md: code %s with status %d is missing", code, status)
		}
	}
	for _, typ := range []byte{frameStdout, frameStderr, frameProgress, frameEvent, frameBlock, frameItem, frameEnd} {
		if !regexp.MustCompile("(?m)^\\| (`.`, )?`" + string(typ) + "`").MatchString(doc) {
			t.Errorf("docs/api.md: frame %q is missing", typ)
		}
	}
}
