package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
)

// TestStorageCrosses compares the results of Storage at the client with those of the backend.
func TestStorageCrosses(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	ctx := t.Context()
	got, err := c.Sources(ctx)
	want, _ := m.Sources(ctx)
	if d := cmp.Diff(want, got, equal); d != "" || err != nil {
		t.Error(d, err)
	}
	a, err := c.Attach(ctx, SourceCAR, "/x\ny", true)
	if err != nil || a.Path != "/x\ny" || !a.Kept || a.Kind != SourceCAR {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := c.Attach(ctx, "tape", "/x", true); codeOf(err) != CodeUsage {
		t.Error(err)
	}
	if err := c.Detach(ctx, "/x"); codeOf(err) != CodeMissing {
		t.Error(err)
	}
	if v, err := c.Migrate(ctx); err != nil || v != (Migrated{1, 2, 3}) {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := c.Coverage(ctx, rawCID(nil)); err != nil || !cmp.Equal(v, Coverage{36, 7, true, []cid.Cid{rawCID(nil)}}, equal) {
		t.Errorf("%+v, %v", v, err)
	}
}
