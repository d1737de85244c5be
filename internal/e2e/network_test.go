package e2e

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// ran is the part of the output of run --json that these tests use.
type ran struct {
	Job     string `json:"job"`
	State   string `json:"state"`
	Where   string `json:"where"`
	Remote  bool   `json:"remote"`
	Outcome string `json:"outcome"`
	Output  string `json:"output"`
	Runs    []struct {
		Peer    string `json:"peer"`
		Receipt string `json:"receipt"`
	} `json:"runs"`
	Events []struct {
		At   time.Time `json:"at"`
		Kind string    `json:"kind"`
	} `json:"events"`
}

// at returns the time of the first event of a kind; zero if there was none.
func (r ran) at(kind string) time.Time {
	for _, e := range r.Events {
		if e.Kind == kind {
			return e.At
		}
	}
	return time.Time{}
}

// describe returns a job with its events.
func describe(t testing.TB, p *peer, id string) ran {
	t.Helper()
	return decodeRan(t, p.try(nil, "job", "describe", "--json", id))
}

func decodeRan(t testing.TB, got result) (r ran) {
	t.Helper()
	for line := range strings.Lines(got.stdout) {
		if strings.HasPrefix(line, `{"job"`) {
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

// TestJobGoesToItsData checks that a job runs at the one of five peers that holds its input.
func TestJobGoesToItsData(t *testing.T) {
	peers := fleet(t, 5)
	want := peers[3].did()
	for i, p := range []*peer{peers[0], peers[1], peers[4]} {
		// A new input each time: a peer with the output of copy also holds its input.
		input := peers[3].run("add", "--quiet", file(t, uint64(i), 8<<20))
		got := p.try(nil, "run", "--json", copyWasm, "--input", input)
		r := decodeRan(t, got)
		if got.code != 0 || r.Where != want || !r.Remote {
			t.Errorf("from %s: exit code %d, at %q, want %s\n%s", p.name, got.code, r.Where, want, got.stderr)
		}
		if i == 0 { // the output was fetched completely; the input was not
			if err := p.complete(r.Output); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestExecutorKilled kills the peer that runs a job: another one finishes it, and the user sees
// a line about it.
func TestExecutorKilled(t *testing.T) {
	peers := fleet(t, 4)
	names := map[*peer]string{} // the short name of a peer, as shown in the output
	for _, p := range peers[1:] {
		did := p.did()
		names[p] = did[8:14] + "…" + did[len(did)-6:]
	}
	cmd := peers[0].command(t.Context(), "run", "--where", "network", workWasm, "--", "3000", "kill")
	var stdout bytes.Buffer
	stderr := &output{grown: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var err error
	go func() { err = cmd.Wait(); close(ended) }()
	var runner *peer
	eventually(t, "the job is placed", 30*time.Second, func() bool {
		for p, name := range names {
			if strings.Contains(stderr.String(), "awarded to "+name+":") {
				runner = p
			}
		}
		return runner != nil && strings.Contains(stderr.String(), "is running the job")
	})
	runner.kill()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		t.Fatalf("job does not end\n%s", stderr)
	}
	if err != nil || !strings.Contains(stdout.String(), " kill\n") {
		t.Errorf("job ended with %v and printed %q\n%s", err, &stdout, stderr)
	}
	if n := strings.Count(stdout.String(), " kill\n"); n != 1 {
		t.Errorf("last line printed %d times, want 1", n)
	}
}

// TestRequesterKilled kills the daemon that submitted a job with one run and a job with three
// runs on other peers: after its restart both continue, and no run is started again.
func TestRequesterKilled(t *testing.T) {
	peers := fleet(t, 4, "--slots", "4")
	submit := func(args ...string) string {
		args = append([]string{"run", "--detach", "--where", "network"}, args...)
		return strings.TrimSpace(peers[0].run(args...))
	}
	jobs := map[string]int{
		submit(workWasm, "--", "2000", "back"):                1,
		submit("--runs", "3", workWasm, "--", "2001", "back"): 3,
	}
	for id, n := range jobs {
		eventually(t, "the job runs", time.Minute, func() bool {
			return strings.Count(peers[0].run("job", "describe", id), "is running the job") == n
		})
	}
	peers[0].kill()
	time.Sleep(time.Second)
	peers[0].start("")
	for id, n := range jobs {
		eventually(t, "the job is done", 2*time.Minute, func() bool {
			return strings.Contains(peers[0].run("job", "describe", id), "state ok")
		})
		text := peers[0].run("job", "describe", id)
		if found := strings.Count(text, "the run was found again on"); found != n || strings.Count(text, "asking ") != 1 {
			t.Errorf("%d of %d runs were found again\n%s", found, n, text)
		}
		if out := peers[0].run("job", "logs", id); !strings.Contains(out, " back") {
			t.Errorf("job logs: got %q", out)
		}
		peers[0].run("job", "get", id, "-o", t.TempDir()+"/out")
	}
}

// TestSeveralRuns runs one job on three peers: they agree.
func TestSeveralRuns(t *testing.T) {
	peers := fleet(t, 4)
	got := peers[0].try(nil, "run", "--runs", "3", "--where", "network", workWasm, "--", "1", "agree")
	if got.code != 0 || !strings.Contains(got.stdout, " agree\n") {
		t.Errorf("exit code %d, %q\n%s", got.code, got.stdout, got.stderr)
	}
}
