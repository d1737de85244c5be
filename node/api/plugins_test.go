package api

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlugins(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	want, _ := m.Plugins(t.Context())
	got, err := c.Plugins(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
	digest, err := c.ResolveImage(t.Context(), "docker", "alpine")
	if string(digest) != "alpine" || err != nil {
		t.Errorf("%q, %v", digest, err)
	}
	var e *Error
	if _, err := c.ResolveImage(t.Context(), "other", "x"); !errors.As(err, &e) || e.Code != CodeRefused {
		t.Errorf("error %v", err)
	}
}
