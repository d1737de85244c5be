package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStorm has four requesters send jobs to five peers while these are killed at random and
// restarted: every job ends once, with the one Outcome of its Task, and no files are left.
// LIFTOFF_STORM sets the number of jobs; default 60.
func TestStorm(t *testing.T) {
	jobs := 60
	if s := os.Getenv("LIFTOFF_STORM"); s != "" {
		var err error
		if jobs, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	const requesters, workers = 4, 5
	peers := make([]*peer, requesters+workers)
	for i := range peers {
		flags := []string{"--store-only"}
		if i >= requesters {
			flags = []string{"--slots", "2"}
		}
		peers[i] = newPeer(t, fmt.Sprint("p", i), here{}, "127.0.0.1", flags...)
	}
	join(t, peers)

	stop, killed := make(chan struct{}), 0
	var killer sync.WaitGroup
	killer.Go(func() {
		rng := rand.New(rand.NewPCG(7, 7))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(1000+rng.IntN(2000)) * time.Millisecond):
			}
			p := peers[requesters+rng.IntN(workers)]
			p.kill()
			killed++
			if err := p.tryStart(""); err != nil {
				t.Error(err)
				return
			}
		}
	})
	outcomes := make([]string, jobs)
	next := make(chan int)
	var users sync.WaitGroup
	for i := range 2 * requesters {
		p := peers[i%requesters]
		users.Go(func() {
			for n := range next {
				got := p.try(nil, "run", "--json", "--where", "network", workWasm, "--", strconv.Itoa(20+n%50), strconv.Itoa(n/2))
				r := decodeRan(t, got)
				if got.code != 0 || r.State != "ok" {
					t.Errorf("job %d: exit code %d\n%s", n, got.code, got.stderr)
				}
				outcomes[n] = r.Outcome
			}
		})
	}
	for n := range jobs {
		next <- n
	}
	close(next)
	users.Wait()
	close(stop)
	killer.Wait()
	t.Logf("%d jobs, %d kills", jobs, killed)

	for _, p := range peers[:requesters] {
		seen := map[string]bool{}
		for line := range strings.Lines(p.run("job", "ls")) {
			id := strings.Fields(line)[0]
			if seen[id] || !strings.Contains(line, " ok ") {
				t.Errorf("%s: job %q", p.name, line)
			}
			seen[id] = true
		}
	}
	for _, p := range peers {
		eventually(t, p.name+" is free again", time.Minute, func() bool {
			return !strings.Contains(p.run("job", "ls"), "running")
		})
		p.stop()
		if left := entries(t, p.dir, "scratch"); left > 0 {
			t.Errorf("%s: %d run folders left", p.name, left)
		}
		p.verify()
	}
}

// entries counts the files in a folder of a repo; a missing folder has none.
func entries(t testing.TB, dir, sub string) int {
	t.Helper()
	list, err := os.ReadDir(dir + "/" + sub)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(list)
}
