package dag

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
)

func TestParsePath(t *testing.T) {
	c := cidA.String()
	for in, want := range map[string][]string{
		c:                            nil,
		c + "/":                      nil,
		c + "/a/b":                   {"a", "b"},
		"/ipfs/" + c + "//a//b/":     {"a", "b"},
		"ipfs://" + c + "/a%20b/%2e": nil, // refused
		"ipfs://" + c + "/a%20b":     {"a b"},
		c + "/a%20b":                 {"a%20b"},
		c + "/日本語/...":               {"日本語", "..."},
	} {
		p, err := ParsePath(in)
		if strings.HasSuffix(in, "%2e") {
			if err == nil {
				t.Errorf("%q was accepted", in)
			}
			continue
		}
		if err != nil || p.Root != cidA || !slices.Equal(p.Segments, want) {
			t.Errorf("%q = %v, %v", in, p, err)
		}
		if again, err := ParsePath(p.String()); err != nil || again.String() != p.String() {
			t.Errorf("%q is formatted as %q: %v", in, p.String(), err)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	c := cidA.String()
	for _, in := range []string{
		"", "/", "/ipfs/", "hello", "./file", "/ipns/" + c, "ipfs://", "http://" + c, c + "/../x", c + "/.", c + "/a\x00b",
		"ipfs://" + c + "/%zz", "ipfs://" + c + "/a?download", "ipfs://" + c + "#x",
		c + "/" + strings.Repeat("x", 4097), c + strings.Repeat("/x", 257), strings.Repeat("b", 1<<20),
	} {
		var bad *PathError
		if p, err := ParsePath(in); !errors.As(err, &bad) {
			t.Errorf("%.80q = %.80v, %.80v", in, p, err)
		}
	}
}

func TestResolve(t *testing.T) {
	bs := new(MemBlocks)
	file := put(bs, cid.Raw, []byte("report"))
	w := NewDirWriter(bs, UnixFSv1)
	if err := w.Add("report.txt", Entry{CID: file}); err != nil {
		t.Fatal(err)
	}
	dir, err := w.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	link, err := AddSymlink(ctx, bs, "report.txt", UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	sharded, names := bigDir(t, bs, 10000)
	top := NewDirWriter(bs, UnixFSv1)
	for name, c := range map[string]cid.Cid{"dir": dir.CID, "big": sharded.CID(), "link": link.CID, "gone": NewBlock(cid.DagProtobuf, []byte("gone")).CID()} {
		if err := top.Add(name, Entry{CID: c}); err != nil {
			t.Fatal(err)
		}
	}
	topDir, err := top.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	outcome := put(bs, cid.DagCBOR, exampleCBOR(t, topDir.CID, dir.CID))

	for path, want := range map[string]cid.Cid{
		"":                                   outcome,
		"/a":                                 topDir.CID,
		"/a/dir/report.txt":                  file,
		"/a/link":                            link.CID,
		"/list/1/deep":                       dir.CID,
		"/list/1/deep/report.txt":            file,
		"/list/2/dir/report.txt":             file,
		"/a/gone":                            NewBlock(cid.DagProtobuf, []byte("gone")).CID(),
		"/a/big/" + names[77]:                NewBlock(cid.Raw, []byte(names[77])).CID(),
		"/list/2/big/" + names[len(names)-1]: NewBlock(cid.Raw, []byte(names[len(names)-1])).CID(),
	} {
		p, err := ParsePath(outcome.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := Resolve(ctx, bs, p); err != nil || r.CID != want || r.Value != nil {
			t.Errorf("%q = %v, %v; want %s", path, r, err, want)
		}
	}
	for path, want := range map[string]string{"/list/0": "1", "/text": `"x"`, "/list/1": `{"deep":{"/":"` + dir.CID.String() + `"}}`, "/null": "null"} {
		p, _ := ParsePath(outcome.String() + path)
		r, err := Resolve(ctx, bs, p)
		if err != nil || r.CID != outcome || r.Value == nil {
			t.Errorf("%q = %v, %v", path, r, err)
			continue
		}
		if text, err := BlockJSON(NewBlock(cid.DagCBOR, r.Value)); err != nil || string(text) != want {
			t.Errorf("%q is %s, %v; want %s", path, text, err, want)
		}
	}

	for path, want := range map[string]*NoEntryError{
		"/b":                   {outcome.String(), "b"},
		"/list/3":              {outcome.String() + "/list", "3"},
		"/list/01":             {outcome.String() + "/list", "01"},
		"/list/-1":             {outcome.String() + "/list", "-1"},
		"/a/dir/nope/x":        {outcome.String() + "/a/dir", "nope"},
		"/a/big/nope":          {outcome.String() + "/a/big", "nope"},
		"/list/1/deep/x":       {outcome.String() + "/list/1/deep", "x"},
		"/list/1/nothing/here": {outcome.String() + "/list/1", "nothing"},
	} {
		p, _ := ParsePath(outcome.String() + path)
		var got *NoEntryError
		if _, err := Resolve(ctx, bs, p); !errors.As(err, &got) || *got != *want {
			t.Errorf("%q: %v; want %v", path, err, want)
		}
	}
	var notDir *NotDirError
	for _, path := range []string{"/text/x", "/a/link/x", "/a/dir/report.txt/x"} {
		p, _ := ParsePath(outcome.String() + path)
		if _, err := Resolve(ctx, bs, p); !errors.As(err, &notDir) {
			t.Errorf("%q: %v", path, err)
		}
	}
	var missing *NotFoundError
	p, _ := ParsePath(outcome.String() + "/a/gone/x")
	if _, err := Resolve(ctx, bs, p); !errors.As(err, &missing) || !strings.Contains(err.Error(), p.String()) {
		t.Errorf("missing block: %v", err)
	}
}
