package api

import (
	"encoding/json"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"
)

// TestLinks encodes all types that have CIDs: these are strings, times are in UTC, and what comes
// back is the same.
func TestLinks(t *testing.T) {
	c := rawCID([]byte("x"))
	at := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("", 5*3600+1800))
	for _, v := range []any{
		&Root{c, true}, &Pin{Name: "n", Roots: []Root{{c, true}}, Created: at, Expires: at, Rest: []cid.Cid{c}, Opaque: true},
		&RunResult{"p", c, c}, &RunResult{Peer: "p", Outcome: c}, &Mismatch{"p", "stdout", true, "i", c, c}, &Publication{c, at},
		&ReceiptInfo{c, "i", c, c, at, true, true}, &CachedResult{c, c, c, "i", "ok", 1, 2, 3, at},
		&Source{Kind: SourceCAR, State: "ok", Path: "p", Roots: []cid.Cid{c, c}, Blocks: 1, Bytes: 2, Disk: 3, Kept: true},
		&Coverage{1, 2, true, []cid.Cid{c}},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if bad := regexp.MustCompile(`\{"/"|\+05:30`).Find(b); bad != nil {
			t.Errorf("%T: %q in %s", v, bad, b)
		}
		back := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(b, back); err != nil {
			t.Errorf("%T: %v", v, err)
		}
		if diff := cmp.Diff(v, back, cmpopts.EquateComparable(cid.Cid{})); diff != "" {
			t.Errorf("%T:\n%s", v, diff)
		}
		isRequest := false
		switch v.(type) {
		case *Root, *Pin:
			isRequest = true
		}
		if err := json.Unmarshal([]byte(`{"unknown":1}`), back); (err == nil) == isRequest {
			t.Errorf("%T with an unknown field: %v", v, err)
		}
	}
}

// TestLinkTags holds the encoded types to the tags of the types that they stand for.
func TestLinkTags(t *testing.T) {
	for _, pair := range [][2]any{
		{Root{}, rootJSON{}},
		{Pin{}, pinJSON{}},
		{RunResult{}, runResultJSON{}},
		{Mismatch{}, mismatchJSON{}},
		{Publication{}, publicationJSON{}},
		{ReceiptInfo{}, receiptInfoJSON{}},
		{CachedResult{}, cachedResultJSON{}},
		{Source{}, sourceJSON{}},
		{Coverage{}, coverageJSON{}},
	} {
		of, encoded := reflect.TypeOf(pair[0]), reflect.TypeOf(pair[1])
		if of.NumField() != encoded.NumField() {
			t.Errorf("%s has %d fields, %s has %d", of, of.NumField(), encoded, encoded.NumField())
			continue
		}
		for i := range of.NumField() {
			f, _ := encoded.FieldByName(of.Field(i).Name)
			if f.Tag.Get("json") != of.Field(i).Tag.Get("json") {
				t.Errorf("%s.%s is %q, in %s %q", of, of.Field(i).Name, of.Field(i).Tag.Get("json"), encoded, f.Tag.Get("json"))
			}
		}
	}
}

// TestJobLinks does the same for a job as a whole.
func TestJobLinks(t *testing.T) {
	c := rawCID([]byte("x"))
	at := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("", 5*3600+1800))
	j := Job{
		ID: "j-1", State: JobFailed, Task: c, OutcomeCID: c, Receipt: c, Created: at, Ended: at, Refs: []cid.Cid{c}, Stdout: c, Stderr: c,
		Runs: []RunResult{{"p", c, c}}, Mismatches: []Mismatch{{"p", "stdout", true, "i", c, c}},
		Placement: &Placement{Awards: []Award{{Result: &RunResult{"p", c, c}}}},
	}
	b, err := EncodeJob(j)
	if err != nil {
		t.Fatal(err)
	}
	if bad := regexp.MustCompile(`\{"/"|\+05:30|"[a-zA-Z_]+_(ms|us)"`).Find(b); bad != nil {
		t.Errorf("%q in %s", bad, b)
	}
	back, err := DecodeJob(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(j, back, cmpopts.EquateComparable(cid.Cid{})); diff != "" {
		t.Error(diff)
	}
}

// A text that is not the canonical form of a CID is refused in requests and answers.
func TestLinksAreCanonical(t *testing.T) {
	var l link
	if err := json.Unmarshal([]byte(`"bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"`), &l); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal([]byte(`"bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf355"`), &l); err == nil {
		t.Errorf("got %v, want an error", cid.Cid(l))
	}
}
