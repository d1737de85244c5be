package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// emptyGuest is the smallest command: one page of memory, and a _start that returns.
const emptyGuest = "\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + // type () -> ()
	"\x03\x02\x01\x00" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" +
	"\x0a\x04\x01\x02\x00\x0b"

// footprint is the resource use of a daemon, from its own metrics.
type footprint struct {
	resident, heap    float64 // MiB; the heap after a collection
	goroutines, files float64
	cpu               float64 // seconds so far
}

func (u footprint) String() string {
	return fmt.Sprintf("%.0f MiB resident, heap %.1f MiB, %.0f goroutines, %.0f files", u.resident, u.heap, u.goroutines, u.files)
}

// measure reads the metrics of a daemon that serves them, and pprof, at addr.
func measure(t testing.TB, addr string) (u footprint) {
	t.Helper()
	get := func(path string) io.ReadCloser {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Body
	}
	for range 2 { // objects with finalizers are freed at the second collection
		body := get("/debug/pprof/heap?gc=1")
		io.Copy(io.Discard, body)
		body.Close()
	}
	into := map[string]*float64{
		"process_resident_memory_bytes": &u.resident, "go_memstats_heap_alloc_bytes": &u.heap, "go_goroutines": &u.goroutines,
		"process_open_fds": &u.files, "process_cpu_seconds_total": &u.cpu,
	}
	body := get("/metrics")
	defer body.Close()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if to := into[name]; to != nil {
			var err error
			if *to, err = strconv.ParseFloat(value, 64); err != nil {
				t.Fatal(err)
			}
			delete(into, name)
		}
	}
	if len(into) > 0 {
		t.Fatalf("missing metrics: %v", into)
	}
	u.resident, u.heap = u.resident/(1<<20), u.heap/(1<<20)
	return u
}

// TestManyJobs runs trivial jobs through one daemon with four peers: its resource use after all
// of them is the same as after a tenth. LIFTOFF_JOBS sets the number of jobs; default 2,000.
func TestManyJobs(t *testing.T) {
	jobs := 2000
	if s := os.Getenv("LIFTOFF_JOBS"); s != "" {
		var err error
		if jobs, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	peers := []*peer{newPeer(t, "p0", here{}, "127.0.0.1", "--metrics", addr, "--pprof")}
	for i := range 4 {
		peers = append(peers, newPeer(t, fmt.Sprint("p", i+1), here{}, "127.0.0.1"))
	}
	join(t, peers)

	before := measure(t, addr)
	const idle = 5 * time.Second
	time.Sleep(idle)
	u := measure(t, addr)
	t.Logf("idle with 4 peers: %v, %.2f %% of a core", u, 100*(u.cpu-before.cpu)/idle.Seconds())
	if u.resident > 80 {
		t.Errorf("%.0f MiB resident when idle, want at most 80", u.resident)
	}

	s, err := node.Join(t.Context(), node.Config{Dir: peers[0].dir})
	if err != nil || s.Owner {
		t.Fatalf("%v, owner %v", err, s != nil && s.Owner)
	}
	defer s.Abort()
	mod := dag.NewBlock(cid.Raw, []byte(emptyGuest))
	if err := s.Blocks.Put(t.Context(), mod); err != nil {
		t.Fatal(err)
	}
	run := func(n int) {
		j, err := s.Jobs.Run(t.Context(), api.Request{
			Task: job.Task{ABI: job.ABIWASI, Det: job.Det2, Mod: mod.CID(), Fn: "_start", Out: job.OutProfile, Args: []string{strconv.Itoa(n)}},
		}, api.Watch{})
		if err != nil || j.Cached || j.Outcome.State != job.OK {
			t.Errorf("job %d: %+v, %v", n, j, err)
		}
	}
	batch := func(from, to int) footprint {
		next := make(chan int)
		var users sync.WaitGroup
		for range 16 {
			users.Go(func() {
				for n := range next {
					run(n)
				}
			})
		}
		began := time.Now()
		for n := from; n < to; n++ {
			next <- n
		}
		close(next)
		users.Wait()
		took := time.Since(began)
		u := measure(t, addr)
		t.Logf("after %d jobs: %v (%.0f jobs/s)", to, u, float64(to-from)/took.Seconds())
		return u
	}
	first := batch(0, jobs/10)
	last := batch(jobs/10, jobs)
	for deadline := time.Now().Add(time.Minute); ; last = measure(t, addr) {
		isFlat := last.goroutines <= first.goroutines+16 && last.files <= first.files+16 &&
			last.heap <= first.heap+4 && last.resident <= first.resident+24
		if isFlat {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("after %d jobs: %v\nafter %d: %v", jobs/10, first, jobs, last)
			break
		}
		time.Sleep(time.Second)
	}
	t.Logf("settled: %v", last)
}
