package scheduler

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/*.txt")

// epoch is the start time of every scenario.
var epoch = time.UnixMilli(1_800_000_000_000)

// stage executes the lines of a scenario; its play method defines the verbs.
type stage interface {
	play(c command) error
}

// TestScenarios replays the files of testdata. A line at the margin is an input; the indented lines
// below it are the expected output, compared exactly. `go test -update` rewrites them: read the
// diff before you commit it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := replayFile(want)
			if err != nil {
				t.Fatalf("%s:%v", name, err)
			}
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

// replayFile replays a file and returns it with the output of each line.
func replayFile(src []byte) ([]byte, error) {
	var out bytes.Buffer
	var on stage
	lines := bufio.NewScanner(bytes.NewReader(src))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if strings.HasPrefix(line, "\t") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		c, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		c.out = &out
		switch c.verb {
		case "job":
			on = newRequester(c)
		case "admission":
			on = newProvider(c)
		default:
			if on == nil {
				return nil, fmt.Errorf("%d: %q before a job or an admission", n, c.verb)
			}
			if err := on.play(c); err != nil {
				return nil, fmt.Errorf("%d: %s: %w", n, c.verb, err)
			}
		}
		if len(c.left()) > 0 {
			return nil, fmt.Errorf("%d: %s: unknown keys %q", n, c.verb, c.left())
		}
	}
	return out.Bytes(), lines.Err()
}

// command is one line: a verb, then plain words and key=value pairs. A value may be quoted.
type command struct {
	verb  string
	words []string
	value map[string]string
	read  map[string]bool
	out   *bytes.Buffer
}

func parse(line string) (command, error) {
	c := command{value: map[string]string{}, read: map[string]bool{}}
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		i := strings.IndexAny(line, " =")
		if i < 0 {
			i = len(line)
		}
		word := line[:i]
		line = line[i:]
		if !strings.HasPrefix(line, "=") {
			c.words = append(c.words, word)
			continue
		}
		line = line[1:]
		if strings.HasPrefix(line, `"`) {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				return c, fmt.Errorf("%s: %w", word, err)
			}
			line = line[len(q):]
			c.value[word], err = strconv.Unquote(q)
			if err != nil {
				return c, err
			}
			continue
		}
		v, rest, _ := strings.Cut(line, " ")
		c.value[word], line = v, rest
	}
	if len(c.words) == 0 {
		return c, fmt.Errorf("no verb")
	}
	c.verb, c.words = c.words[0], c.words[1:]
	return c, nil
}

func (c command) say(format string, a ...any) { fmt.Fprintf(c.out, "\t"+format+"\n", a...) }

// left lists the keys that were not read: a misspelt one is an error.
func (c command) left() (keys []string) {
	for k := range c.value {
		if !c.read[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

func (c command) str(k string) string {
	c.read[k] = true
	return c.value[k]
}

func (c command) is(word string) bool {
	for _, w := range c.words {
		if w == word {
			return true
		}
	}
	return false
}

func (c command) int(k string, def int) int {
	s := c.str(k)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("%s=%s: %v", k, s, err))
	}
	return n
}

func (c command) time(k string) time.Duration {
	s := c.str(k)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(fmt.Sprintf("%s=%s: %v", k, s, err))
	}
	return d
}

// bytes reads a size: 12, 4KiB, 3MiB, 1GiB.
func (c command) bytes(k string) uint64 {
	s := c.str(k)
	unit := uint64(1)
	for name, u := range map[string]uint64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if v, ok := strings.CutSuffix(s, name); ok {
			s, unit = v, u
		}
	}
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s: %v", k, s, err))
	}
	return n * unit
}

// labels reads k:v,k:v.
func (c command) labels(k string) map[string]string {
	s := c.str(k)
	if s == "" {
		return nil
	}
	m := map[string]string{}
	for _, kv := range strings.Split(s, ",") {
		name, v, _ := strings.Cut(kv, ":")
		m[name] = v
	}
	return m
}

func (c command) limits() job.Limits {
	return job.Limits{Pages: c.bytes("memory") / pageSize, Fuel: c.bytes("limit")}
}

func (c command) bid() job.Bid {
	if code := c.str("refuse"); code != "" {
		return Refuse(code, c.str("why"))
	}
	return job.Bid{
		Have: c.bytes("have"), Missing: c.bytes("missing"), Exact: !c.is("rough"), Slots: c.int("slots", 1),
		Queue: c.time("queue").Milliseconds(), Fetch: c.time("fetch").Milliseconds(), Run: c.time("run").Milliseconds(),
	}
}

func named(s string) cid.Cid {
	if s == "" {
		return cid.Undef
	}
	return job.CIDOf([]byte(s))
}
