package words

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// replaced are the words that are not used, and what stands in their place.
var replaced = []struct{ pattern, instead string }{
	{`whom|whomever`, "the peer, the requester, the caller"},
	{`whence|hitherto|thereof|therein|thereby`, "a plain sentence"},
	{`nobody|nobodies`, "no peer, no process, unknown"},
	{`anybody|somebody|oneself`, "any peer, a process, another caller"},
	{`anew`, "again"},
	{`shall`, "must, is to"},
	{`errands?`, "placement"},
	{`fences?|fenced`, "cluster, separator"},
	{`memos?`, "cached result, result cache"},
	{`replicas?`, "runs of a job, copies of data"},
	{`is no`, "is not a"},
	{`there is none`, "does not exist, not found"},
	{`to blame`, "the part that failed"},
	{`gives? up|giving up|gave up`, "stop, fail, abandon"},
	{`lets? go|letting go`, "release, remove"},
	{`takes? up|taking up|took up`, "start, accept, resume"},
	{`looks? after|looking after`, "maintain, manage"},
	{`tells? of|telling of|told of`, "report, announce, list"},
	{`when left out`, "default"},
	{`makes? no sense`, "invalid"},
	{`in force`, "effective, valid"},
	{`good-bye|goodbye|farewells?`, "shutdown"},
	{`liars?|lied`, "dishonest peer, false claim"},
	{`doors?|abroad|hush`, "gater, remote, log level"},
	{`heeds?|heeded`, "apply, honour"},
	{`greets?|greeted`, "handshake"},
	{`strangers?`, "unknown or open peer, non-member"},
}

// exception lets one word stand in the files that a pattern matches.
type exception struct {
	files  string // as path.Match; a name without a slash matches in every folder
	word   string // in lower case
	reason string
}

var exceptions = []exception{
	{"internal/words/*", "*", "this list"},
	{"LICENSE", "whom", "the text of the MIT license"},
	{"LICENSE", "shall", "the text of the MIT license"},
	{"wasm-examples/*/want.json", "shall", "output of a job over a poem of 1817"},
	{"wasm-examples/tail-c/want.json", "is no", "what tail.c prints"},
	{"wasm-examples/tail-c/tail.c", "is no", "another text changes the module, and with it the example Outcome"},
	{"wasm-examples/csvagg/table.go", "is no", "another text changes the module, and with it the example Outcome"},
	{"wasm-examples/testdata/sdk/*/*", "is no", "another text changes the modules, and with them the transcript of their runs"},
	{"wasm-examples/testdata/sdk/transcript", "is no", "what the three SDKs' guests print"},
}

// extensions are those of the files that are read; files without an extension are, too.
var extensions = map[string]bool{
	"": true, ".go": true, ".md": true, ".txt": true, ".txtar": true, ".yaml": true, ".yml": true, ".json": true, ".sh": true,
	".c": true, ".h": true, ".rs": true, ".py": true, ".js": true, ".mjs": true, ".toml": true, ".service": true, ".wat": true, ".s": true,
}

// skipped are folders that hold no text of the project.
var skipped = map[string]bool{".git": true, "bin": true, "dist": true, "node_modules": true, "target": true, "texts": true, "fuzz": true}

func TestWords(t *testing.T) {
	matches, err := findWords(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	used := map[exception]bool{}
	for _, m := range matches {
		if e := exceptionFor(m); e != nil {
			used[*e] = true
			continue
		}
		t.Errorf("%s:%d: %q: use: %s", m.file, m.line, m.word, m.instead)
	}
	for _, e := range exceptions {
		if !used[e] {
			t.Errorf("the exception %q for %s is not used", e.word, e.files)
		}
	}
}

// TestFindWords has the search find what it must find, and nothing else.
func TestFindWords(t *testing.T) {
	dir := t.TempDir()
	text := "It is no longer here, there is\n// no peer.\nNobody knows whom.\nthe Fence is no\npeer; this is not\nnobodyElse fence_id isNobody HTTPFence fence2\nmemorable\n"
	if err := os.WriteFile(filepath.Join(dir, "a.md"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	matches, err := findWords(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range matches {
		got = append(got, fmt.Sprintf("%d %s", m.line, m.word))
	}
	want := "3 nobody, 3 whom, 4 fence, 4 is no, 6 nobody, 6 fence, 6 nobody, 6 fence, 6 fence"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

type match struct {
	file, word, instead string
	line                int
}

func exceptionFor(m match) *exception {
	for i, e := range exceptions {
		name := m.file
		if !strings.Contains(e.files, "/") {
			name = path.Base(name)
		}
		if ok, _ := path.Match(e.files, name); ok && (e.word == "*" || e.word == m.word) {
			return &exceptions[i]
		}
	}
	return nil
}

// findWords returns the matches in all text files, in their order. A word is found across
// the end of a line, in parts of identifiers, and without regard to case.
func findWords(root fs.FS) ([]match, error) {
	var patterns []string
	for _, r := range replaced {
		patterns = append(patterns, "("+strings.ReplaceAll(r.pattern, " ", `\s+(?://\s*|#\s*)?`)+")")
	}
	// Parts of identifiers are set apart before the search, see apart.
	search := regexp.MustCompile(`(?i)\b(?:` + strings.Join(patterns, "|") + `)\b`)
	var matches []match
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped[d.Name()] {
				return fs.SkipDir
			}
			return nil
		}
		if !extensions[path.Ext(name)] || !d.Type().IsRegular() {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			return err
		}
		text = apart(append([]byte(strings.TrimSuffix(name, path.Ext(name))+"\n"), text...)) // the name counts, too
		for _, at := range search.FindAllSubmatchIndex(text, -1) {
			word := strings.ToLower(strings.Join(strings.FieldsFunc(string(text[at[0]:at[1]]), isSpacing), " "))
			if word == "is no" && (thereIsNo.Match(text[:at[0]]) || noLonger.Match(text[at[1]:])) {
				continue
			}
			m := match{file: name, word: word, line: bytes.Count(text[:at[0]], []byte("\n"))}
			for i, r := range replaced {
				if at[2*(i+1)] >= 0 {
					m.instead = r.instead
				}
			}
			matches = append(matches, m)
		}
		return nil
	})
	return matches, err
}

// "There is no peer" and "is no longer" are plain.
var (
	thereIsNo = regexp.MustCompile(`(?i)there\s+(?://\s*|#\s*)?$`)
	noLonger  = regexp.MustCompile(`^\s+(?://\s*|#\s*)?longer\b`)
)

// isSpacing is true of what may stand between two words: space, and the beginning of a comment.
func isSpacing(r rune) bool { return unicode.IsSpace(r) || r == '/' || r == '#' }

// The ends of words inside an identifier: fooBar, HTTPServer, fence2.
var (
	hump    = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	acronym = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
	digits  = regexp.MustCompile(`([A-Za-z])([0-9])`)
)

// apart splits identifiers into words with spaces. It keeps the lines.
func apart(text []byte) []byte {
	for _, end := range []*regexp.Regexp{hump, acronym, digits} {
		text = end.ReplaceAll(text, []byte("$1 $2"))
	}
	return bytes.ReplaceAll(text, []byte("_"), []byte(" "))
}
