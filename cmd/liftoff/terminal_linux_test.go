package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	_ "time/tzdata" // TestJSONOutput sets TZ

	"github.com/rivo/uniseg"
	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudo terminal with so many columns.
func openTerminal(t *testing.T, columns int) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// terminalRepo is a repo whose listings are shown on terminals.
type terminalRepo struct {
	env []string
	dir string
}

// hostile is a name with all that must not reach a terminal as it is, and wide runes.
const hostile = "漢字\x1b[31m\u202e\a.txt"

func newTerminalRepo(t *testing.T) *terminalRepo {
	t.Helper()
	dir := t.TempDir()
	r := &terminalRepo{dir: dir}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "NO_COLOR" && name != "TERM" && name != "COLUMNS" {
			r.env = append(r.env, v)
		}
	}
	r.env = append(r.env, "LIFTOFF_PATH="+filepath.Join(dir, "repo"), "TERM=xterm", "TZ=Asia/Kolkata")
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tree, hostile), strings.Repeat("x", 3000))
	write(t, filepath.Join(tree, strings.Repeat("長い名前", 10)+".txt"), "y")
	r.piped(t, "add", "--name", "a\x1b[2Jpin", tree)
	r.piped(t, "run", "-q", "testdata/guests/hello.wasm", "--label", "team=\x1b[31mred")
	r.piped(t, "run", "-q", "--no-cache", "testdata/guests/hello.wasm")
	return r
}

func (r *terminalRepo) command(args ...string) *exec.Cmd {
	c := exec.Command("liftoff", args...)
	c.Env = r.env
	return c
}

// piped returns what a command prints into a pipe.
func (r *terminalRepo) piped(t *testing.T, args ...string) string {
	t.Helper()
	c := r.command(args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// shown returns what a command prints on a terminal.
func (r *terminalRepo) shown(t *testing.T, columns int, env []string, args ...string) string {
	t.Helper()
	master, terminal := openTerminal(t, columns)
	c := r.command(args...)
	c.Env = append(c.Env[:len(c.Env):len(c.Env)], env...)
	c.Stdout = terminal
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	out, _ := io.ReadAll(master) // EIO when the last process has closed the other end
	if err := c.Wait(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, &stderr)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// listings are the commands whose tables are checked.
var listings = [][]string{
	{"job", "ls"}, {"pin", "ls", "--held"}, {"receipt", "ls"}, {"cache", "ls"}, {"ls", "TREE"}, {"block", "stat", "TREE"}, {"config"}, {"attach", "ls"}, {"trust", "ls"}, {"verify", "JOB"},
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestTerminal shows listings on terminals of many widths: no line is wider than the terminal, no
// control character gets through, and columns begin below their headers.
func TestTerminal(t *testing.T) {
	r := newTerminalRepo(t)
	tree := strings.Fields(r.piped(t, "pin", "ls"))[0]
	jobs := r.piped(t, "job", "ls")
	job := strings.Fields(jobs)[0]
	if strings.ContainsAny(jobs, "\x1b\a") || !strings.Contains(jobs, `"team=\x1b[31mred"`) {
		t.Errorf("in a pipe: %q", jobs)
	}
	for _, line := range listings {
		args := strings.Fields(strings.NewReplacer("TREE", tree, "JOB", job).Replace(strings.Join(line, " ")))
		for _, columns := range []int{20, 33, 60, 80, 100, 250} {
			out := r.shown(t, columns, nil, args...)
			plain := sgr.ReplaceAllString(out, "")
			if strings.ContainsAny(plain, "\x1b\a\r\u202e") {
				t.Errorf("%q: a control character: %q", line, plain)
			}
			for text := range strings.Lines(plain) {
				text = strings.TrimSuffix(text, "\n")
				if line[0] == "verify" && strings.HasPrefix(text, "attested") {
					continue // a fact is shown whole
				}
				if w := uniseg.StringWidth(text); w > columns {
					t.Errorf("%q: a line of %d columns on a terminal of %d: %q", line, w, columns, text)
				}
			}
		}
	}

	wide := sgr.ReplaceAllString(r.shown(t, 250, nil, "ls", tree), "")
	for text := range strings.Lines(wide) {
		at := strings.Index(text, "  "+firstWord(text[strings.LastIndex(text, "  ")+2:]))
		if w := uniseg.StringWidth(text[:at]); w != len(tree)+2+len("2.9 KiB") {
			t.Errorf("the last column begins after %d columns: %q", w, text)
		}
	}
	for _, want := range []string{"CID", "SIZE", "NAME", "2.9 KiB", `"漢字\x1b[31m\u202e\a.txt"`, strings.Repeat("長い名前", 10)} {
		if !strings.Contains(wide, want) {
			t.Errorf("no %q in\n%s", want, wide)
		}
	}

	narrow := sgr.ReplaceAllString(r.shown(t, 80, nil, "job", "ls"), "")
	rows := strings.Split(strings.TrimSpace(narrow), "\n")
	if !strings.HasPrefix(rows[0], "JOB ") || len(rows) != 3 || !strings.Contains(rows[1], " ago ") {
		t.Fatalf("job ls:\n%s", narrow)
	}
	for i, row := range rows[1:] {
		short := firstWord(row)
		if got := r.piped(t, "job", "describe", short); !strings.HasPrefix(got, "job "+strings.Fields(strings.Split(jobs, "\n")[i])[0]+"\n") {
			t.Errorf("job describe %s: %s", short, got)
		}
	}
	receipts := strings.Split(sgr.ReplaceAllString(r.shown(t, 80, nil, "receipt", "ls"), ""), "\n")
	if got := r.piped(t, "receipt", "show", firstWord(receipts[1])); !strings.HasPrefix(got, "receipt "+firstWord(receipts[1])) {
		t.Errorf("receipt show %s: %s", firstWord(receipts[1]), got)
	}

	if whole := r.shown(t, 40, nil, "job", "ls", "--no-trunc"); !strings.Contains(whole, job) || !strings.Contains(whole, firstWord(strings.Split(jobs, " ")[3])) {
		t.Errorf("--no-trunc leaves ids out: %q", whole)
	}
	last := strings.Split(strings.TrimSpace(sgr.ReplaceAllString(r.shown(t, 80, nil, "verify", job), "")), "\n")
	if !regexp.MustCompile(`^(attested|agreed \d+/\d+)  bafyrei\w+$`).MatchString(last[len(last)-1]) {
		t.Errorf("verify ends with %q", last[len(last)-1])
	}
	facts := sgr.ReplaceAllString(r.shown(t, 80, nil, "stats"), "")
	if !regexp.MustCompile(`(?m)^blocks +\d+\nsize +\d+(\.\d)? KiB\n`).MatchString(facts) {
		t.Errorf("stats: %q", facts)
	}
}

// TestEmptyListings has each list without items say so on stderr, for a terminal only.
func TestEmptyListings(t *testing.T) {
	r := &terminalRepo{dir: t.TempDir()}
	r.env = append(os.Environ(), "LIFTOFF_PATH="+filepath.Join(r.dir, "repo"))
	if err := os.Mkdir(filepath.Join(r.dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, of := range [][2]string{
		{"job ls", "jobs"},
		{"pin ls", "pins"},
		{"receipt ls", "receipts"},
		{"cache ls", "cached results"},
		{"trust ls", "trusted keys"},
		{"attach ls", "attached files"},
		{"publish", "published roots"},
		{"plugins", "plugins"},
		{"ls EMPTY", "entries"},
		{"run testdata/guests/same.wasm --input d=EMPTY --each d", "entries"},
	} {
		line, want := of[0], of[1]
		if strings.Contains(line, "EMPTY") { // added once it is needed: until then there are no pins
			root := firstWord(r.piped(t, "add", "--quiet", filepath.Join(r.dir, "empty")))
			line = strings.ReplaceAll(line, "EMPTY", root)
		}
		for _, quiet := range []string{"", " --json"} {
			master, terminal := openTerminal(t, 80)
			c := r.command(strings.Fields(line + quiet)...)
			var stderr bytes.Buffer
			c.Stdout, c.Stderr = terminal, &stderr
			err := c.Run()
			terminal.Close()
			out, _ := io.ReadAll(master)
			say := "liftoff: no " + want + "\n"
			if quiet != "" {
				say = ""
			}
			if err != nil || len(out) > 0 || stderr.String() != say {
				t.Errorf("%s%s: %v, stdout %q, stderr %q, want %q", line, quiet, err, out, &stderr, say)
			}
		}
		c := r.command(strings.Fields(line)...)
		if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s in a pipe: %v, %q", line, err, out)
		}
	}
}

// TestEachOnTerminal has all rows of run --each begin their columns at one place: they are printed
// one by one, and the entries differ in width.
func TestEachOnTerminal(t *testing.T) {
	r := newTerminalRepo(t)
	write(t, filepath.Join(r.dir, "tree", "a"), "x")
	row := regexp.MustCompile(`^ok           bafyre…\w{6}  bafkre…\w{6}  \S`)
	for _, columns := range []int{60, 250} {
		out := sgr.ReplaceAllString(r.shown(t, columns, nil, "run", "testdata/guests/same.wasm", "--input", "d="+filepath.Join(r.dir, "tree"), "--each", "d"), "")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "STATE        OUTCOME        OUTPUT         ENTRY") {
			t.Fatalf("%d columns:\n%s", columns, out)
		}
		for _, line := range lines[1:] {
			if !row.MatchString(line) {
				t.Errorf("%d columns: %q", columns, line)
			}
		}
	}
}

func firstWord(s string) string { return strings.Fields(s)[0] }

// TestColor turns colour off in each of the ways.
func TestColor(t *testing.T) {
	r := newTerminalRepo(t)
	colored := func(out string) bool { return sgr.MatchString(out) }
	if out := r.shown(t, 80, nil, "job", "ls"); !strings.Contains(out, "\x1b[32mok\x1b[0m") {
		t.Errorf("no colour: %q", out)
	}
	if out := r.shown(t, 80, []string{"NO_COLOR="}, "job", "ls"); !colored(out) {
		t.Errorf("an empty NO_COLOR turns colour off: %q", out)
	}
	for _, c := range []struct {
		env  []string
		args []string
	}{
		{[]string{"NO_COLOR=1"}, []string{"job", "ls"}},
		{[]string{"TERM=dumb"}, []string{"job", "ls"}},
		{nil, []string{"job", "ls", "--no-color"}},
		{nil, []string{"--no-color", "job", "ls"}},
		{nil, []string{"stats", "--no-color"}},
	} {
		if out := r.shown(t, 80, c.env, c.args...); colored(out) || out == "" {
			t.Errorf("%q %q: %q", c.env, c.args, out)
		}
	}
	if out := r.piped(t, "job", "ls"); colored(out) {
		t.Errorf("colour in a pipe: %q", out)
	}
}

// TestJSONOutput runs commands with --json, in a time zone other than UTC, and holds each object
// to what docs/json.md says of the command's type: its fields, CIDs as strings, times in UTC.
func TestJSONOutput(t *testing.T) {
	r := newTerminalRepo(t)
	tree := strings.Fields(r.piped(t, "pin", "ls"))[0]
	job := strings.Fields(r.piped(t, "job", "ls"))[0]
	receipt := strings.Fields(r.piped(t, "receipt", "ls"))[0]
	did := strings.TrimPrefix(strings.Split(r.piped(t, "id"), "\n")[1], "did ")
	r.piped(t, "trust", "add", did, "--note", "self")
	r.piped(t, "publish", tree)
	dir := filepath.Join(r.dir, "tree")
	b, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"add DIR", "attach add DIR", "attach ls", "block stat TREE", "cache ls", "cluster init", "cluster ls", "config", "gc", "get TREE -o OUT", "id",
		"inspect GUEST", "job describe JOB", "job get JOB -o JOBOUT", "job ls", "job rerun JOB", "ls TREE", "pin add TREE --name x", "pin ls --held", "plugins",
		"publish", "receipt ls", "receipt show RECEIPT", "receipt add RECEIPT", "run GUEST", "run GUEST --dry-run", "run GUEST --input d=DIR --each d",
		"stat TREE", "stats", "store check", "store migrate", "trust ls", "verify RECEIPT", "version",
	} {
		words := strings.Fields(line)
		name := words[0]
		if len(words) > 1 && jsonOf[name] == nil || jsonOf[strings.Join(words[:min(2, len(words))], " ")] != nil {
			name = strings.Join(words[:min(2, len(words))], " ")
		}
		args := strings.NewReplacer("DIR", dir, "TREE", tree, "JOBOUT", filepath.Join(r.dir, "jobout"), "OUT", filepath.Join(r.dir, "out"), "JOB", job,
			"RECEIPT", receipt, "GUEST", "testdata/guests/hello.wasm")
		for i, w := range words {
			words[i] = args.Replace(w)
		}
		out := r.piped(t, append(words, "--json")...)
		if name != "plugins" && name != "store migrate" && out == "" {
			t.Errorf("%s --json prints nothing", line)
		}
		for text := range strings.Lines(out) {
			checkObject(t, string(b), line, name, text)
		}
	}
}

var documented = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ")

func checkObject(t *testing.T, doc, line, name, text string) {
	t.Helper()
	var o map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Errorf("%s: %v in %s", line, err, text)
		return
	}
	fits := false
	for typeName, v := range jsonNames {
		for _, of := range jsonOf[name] {
			if fmt.Sprintf("%T", of) == fmt.Sprintf("%T", v) {
				fits = fits || hasFields(doc, typeName, o)
			}
		}
	}
	if !fits {
		t.Errorf("%s prints fields that its types in docs/json.md do not have: %s", line, text)
	}
	for key, value := range o {
		if strings.HasSuffix(key, "_object") {
			continue
		}
		if bytes.Contains(value, []byte(`{"/"`)) {
			t.Errorf("%s: the field %s has a link as an object: %s", line, key, value)
		}
		if bad := regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*[^Z"]"`).Find(value); bad != nil {
			t.Errorf("%s: the field %s has a time that is not in UTC: %s", line, key, bad)
		}
	}
}

func hasFields(doc, typeName string, o map[string]json.RawMessage) bool {
	_, section, _ := strings.Cut(doc, "\n### "+typeName+"\n")
	section, _, _ = strings.Cut(section, "\n### ")
	known := map[string]bool{}
	if typeName == "entry-job" {
		_, more, _ := strings.Cut(doc, "\n### job\n")
		more, _, _ = strings.Cut(more, "\n### ")
		section += more
	}
	for _, m := range documented.FindAllStringSubmatch(section, -1) {
		known[m[1]] = true
	}
	for key := range o {
		if !known[key] {
			return false
		}
	}
	return true
}
