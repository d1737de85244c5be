package node_test

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// metric returns the sum of the series of a family with these label values, in the order of the label names.
func metric(t *testing.T, r *prometheus.Registry, name string, values ...string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(labels, values) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func TestMetricsCountJobs(t *testing.T) {
	r := prometheus.NewRegistry()
	cfg := config(t.TempDir())
	cfg.Metrics = r
	s, err := node.Join(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mod := put(t, s, "module")
	for fn, fails := range map[string]bool{"hello": false, "no such export": true} {
		for range 2 {
			if _, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, fn)}, api.Watch{}); (err != nil) != fails {
				t.Fatalf("%s: %v", fn, err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"liftoff_jobs_total", []string{"ok", "local"}, 1},
		{"liftoff_jobs_total", []string{"ok", "cache"}, 1},
		{"liftoff_jobs_total", []string{"failed", "local"}, 2},
		{"liftoff_job_seconds", []string{"local"}, 3},
		{"liftoff_jobs_running", nil, 0},
	} {
		if got := metric(t, r, c.name, c.labels...); got != c.want {
			t.Errorf("%s %v: got %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if got := metric(t, r, "liftoff_store_blocks"); got < 3 {
		t.Errorf("%v blocks in the store", got)
	}
}
