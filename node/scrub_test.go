package node_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
)

// TestServeScrubs: a serving node finds a block that was damaged on the disk and reports it; the next process
// continues the pass.
func TestServeScrubs(t *testing.T) {
	dir := t.TempDir()
	s, err := node.Join(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("to be damaged "), 1000)
	for _, data := range [][]byte{content, []byte("sound")} {
		if err := s.Blocks.Put(t.Context(), dag.NewBlock(cid.Raw, data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(dir, "segments", "00000001.car")
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, content)
	b[at+5000] ^= 1
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}

	serve := func(period time.Duration, until func(*prometheus.Registry) bool) *prometheus.Registry {
		t.Helper()
		r, cfg := prometheus.NewRegistry(), config(dir)
		cfg.Metrics, cfg.Scrub = r, period
		n, err := node.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Serve(ctx) }()
		for end := time.Now().Add(20 * time.Second); !until(r); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("timed out waiting for the scrub")
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return r
	}
	serve(time.Millisecond, func(r *prometheus.Registry) bool {
		return metric(t, r, "liftoff_scrub_damaged_total") >= 1 && metric(t, r, "liftoff_scrub_blocks_total") >= 2
	})

	// The next process continues where this one stopped: with a period of years at most one part is due.
	part := func(set string) string {
		t.Helper()
		st, err := store.Open(dir, store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if set != "" {
			err = st.Commit(t.Context(), store.Batch{Records: []store.Record{{Name: "scrub", Value: []byte(set)}}})
		}
		value, found, lerr := st.Lookup("scrub")
		if err != nil || lerr != nil || !found {
			t.Fatal(err, lerr, found)
		}
		return string(value)
	}
	part(`{"part":100,"began":"2001-01-01T00:00:00Z"}`)
	turns := 0
	serve(10*365*24*time.Hour, func(*prometheus.Registry) bool { turns++; return turns > 20 })
	if now := part(""); !strings.HasPrefix(now, `{"part":100,`) && !strings.HasPrefix(now, `{"part":101,`) {
		t.Errorf("continued with %s", now)
	}
}
