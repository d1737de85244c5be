//go:build !windows

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// jsonOf says which objects each command with --json prints.
var jsonOf = map[string][]any{
	"add": {added{}}, "attach add": {api.Source{}}, "attach ls": {api.Source{}},
	"block put": {cidReport{}}, "block stat": {blockReport{}},
	"cache ls": {api.CachedResult{}}, "car import": {importedReport{}},
	"cluster init": {api.ClusterInfo{}}, "cluster invite": {invitationReport{}}, "cluster join": {api.ClusterInfo{}}, "cluster ls": {api.Member{}},
	"config": {settingReport{}}, "gc": {api.Collected{}}, "get": {gotReport{}}, "id": {api.ID{}}, "inspect": {wasm.Description{}},
	"job describe": {report{}}, "job get": {gotReport{}}, "job ls": {report{}}, "job rerun": {report{}},
	"ls": {listed{}}, "peers": {api.Peer{}}, "pin add": {pinned{}}, "pin ls": {pinned{}}, "plugins": {api.Plugin{}}, "publish": {api.Publication{}},
	"receipt add": {receiptName{}}, "receipt ls": {api.ReceiptInfo{}}, "receipt show": {receiptReport{}},
	"run": {report{}, eachReport{}, taskReport{}}, "stat": {status{}}, "stats": {storageStats{}},
	"store check": {api.Damage{}, api.Checked{}}, "store migrate": {api.Migrated{}},
	"trust ls": {api.TrustedKey{}}, "verify": {verdictLine{}}, "version": {versionReport{}},
}

// jsonNames are the names of the types in docs/json.md.
var jsonNames = map[string]any{
	"job": report{}, "read": readReport{}, "total": total{}, "error": api.Error{}, "run-result": api.RunResult{}, "mismatch": api.Mismatch{},
	"placement": api.Placement{}, "bid": api.Bid{}, "skip": api.Skip{}, "award": api.Award{}, "event": api.Event{},
	"entry-job": eachReport{}, "task": taskReport{}, "added": added{}, "entry": listed{}, "content": status{}, "block": blockReport{}, "cid": cidReport{},
	"got": gotReport{}, "pin": pinned{}, "pinned-root": pinnedRoot{}, "held": held{}, "imported": importedReport{},
	"source": api.Source{}, "stats": storageStats{}, "collected": api.Collected{}, "damage": api.Damage{}, "checked": api.Checked{}, "migrated": api.Migrated{},
	"plugin": api.Plugin{}, "peer": api.Peer{}, "capacity": api.Capacity{}, "limits": job.Limits{},
	"cluster": api.ClusterInfo{}, "invitation": invitationReport{}, "member": api.Member{}, "publication": api.Publication{},
	"receipt-info": api.ReceiptInfo{}, "receipt": receiptReport{}, "receipt-name": receiptName{}, "cached-result": api.CachedResult{}, "trusted-key": api.TrustedKey{},
	"verdict": verdictLine{}, "step": node.Step{}, "module": wasm.Description{}, "tables": wasm.Tables{}, "memory": wasm.Memory{},
	"segments": wasm.Segments{}, "import": wasm.Import{}, "export": wasm.Export{},
	"identity": api.ID{}, "setting": settingReport{}, "version": versionReport{},
}

// jsonField is one field of a type, as the documentation has it.
type jsonField struct{ name, kind string }

// jsonFields returns the fields of a Go type by reflection: names, and the beginning of the text
// that says what they are.
func jsonFields(t *testing.T, typ reflect.Type) (all []jsonField) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "":
			continue // the section says which type's fields these are
		case tag == "-" || !f.IsExported():
			continue
		case tag == "" || !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(tag):
			t.Errorf("%s.%s: the name of its JSON field is %q, want snake_case", typ, f.Name, tag)
		}
		kind := jsonKind(t, f.Type)
		if strings.Contains(options, "omit") {
			kind += "?"
		}
		if f.Type == reflect.TypeFor[time.Duration]() != strings.HasSuffix(tag, "_ns") {
			t.Errorf("%s.%s: %s is the name of a duration if it ends in _ns", typ, f.Name, tag)
		}
		all = append(all, jsonField{tag, kind})
	}
	return all
}

func jsonKind(t *testing.T, typ reflect.Type) string {
	switch typ {
	case reflect.TypeFor[time.Time]():
		return "time"
	case reflect.TypeFor[time.Duration]():
		return "nanoseconds"
	case reflect.TypeFor[json.RawMessage]():
		return "DAG-JSON"
	case reflect.TypeFor[cid.Cid]():
		return "CID"
	case reflect.TypeFor[job.DID]():
		return "DID"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return jsonKind(t, typ.Elem())
	case reflect.Slice:
		return "list of " + jsonKind(t, typ.Elem())
	case reflect.Map:
		return "object of strings"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Uint32, reflect.Float64:
		return "number"
	case reflect.Struct:
		for name, v := range jsonNames {
			if reflect.TypeOf(v) == typ {
				return fmt.Sprintf("[%s](#%s)", name, name)
			}
		}
	}
	t.Errorf("no name in docs/json.md for %s", typ)
	return ""
}

// isA reports whether what the documentation says fits what reflection finds: a string may be
// called a CID, a DID or a peer id there.
func isA(doc, kind string) bool {
	for _, id := range []string{"CID", "DID", "peer id"} {
		doc = strings.ReplaceAll(doc, id, "string")
		kind = strings.ReplaceAll(kind, id, "string")
	}
	return doc == kind
}

// TestJSONDocs compares docs/json.md with all commands that have --json, and with the types of
// what they print, field by field and both ways.
func TestJSONDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(b), "\n### ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		sections[title] = text
	}
	var walk func(above string, cmds []*cli.Command)
	commands := map[string]bool{}
	walk = func(above string, cmds []*cli.Command) {
		for _, c := range cmds {
			walk(above+c.Name+" ", c.Subcommands)
			if len(c.Subcommands) > 0 || flagNamed(c.Flags, "json") == nil {
				continue
			}
			name := above + c.Name
			commands["`liftoff "+name+"`"] = true
			text, ok := sections["`liftoff "+name+"`"]
			if !ok {
				t.Errorf("docs/json.md has no section for liftoff %s", name)
			}
			if len(jsonOf[name]) == 0 {
				t.Errorf("jsonOf does not have %s", name)
			}
			for _, v := range jsonOf[name] {
				if link := jsonKind(t, reflect.TypeOf(v)); !strings.Contains(text, link) {
					t.Errorf("docs/json.md: the section of liftoff %s has no link to %s", name, link)
				}
			}
		}
	}
	walk("", newApp(testProcess()).Commands)
	if len(commands) < 30 {
		t.Errorf("%d commands have --json, there should be more", len(commands))
	}
	for title := range sections {
		if strings.HasPrefix(title, "`liftoff ") && !commands[title] {
			t.Errorf("docs/json.md has a section %s for an unknown command with --json", title)
		}
		if _, ok := jsonNames[title]; !strings.HasPrefix(title, "`") && !ok {
			t.Errorf("docs/json.md has a section %s for an unknown type", title)
		}
	}
	for name, v := range jsonNames {
		checkJSONType(t, name, sections[name], jsonFields(t, reflect.TypeOf(v)))
	}
}

var jsonRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\|$")

func checkJSONType(t *testing.T, name, text string, fields []jsonField) {
	t.Helper()
	said := map[string]string{}
	for _, row := range jsonRow.FindAllStringSubmatch(text, -1) {
		said[row[1]] = row[2]
	}
	var lacks strings.Builder
	for _, f := range fields {
		doc, ok := said[f.name]
		switch {
		case !ok:
			fmt.Fprintf(&lacks, "| `%s` | %s | |\n", f.name, f.kind)
		case !isA(doc, f.kind):
			t.Errorf("docs/json.md, %s: %s is %q, want %q", name, f.name, doc, f.kind)
		}
		delete(said, f.name)
	}
	if lacks.Len() > 0 {
		t.Errorf("docs/json.md, ### %s, lacks\n%s", name, lacks.String())
	}
	if len(said) > 0 {
		t.Errorf("docs/json.md, %s: no such fields: %s", name, slices.Sorted(maps.Keys(said)))
	}
}
