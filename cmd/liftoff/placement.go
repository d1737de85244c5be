//go:build !windows

package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// placementFlags are the flags of run and job rerun about where a job runs.
var placementFlags = []cli.Flag{
	&cli.StringFlag{Name: "where", Usage: "`PLACE` place of the run: local, network (any other peer), or a did:key, its beginning, or a peer id (default: best bid)"},
	&cli.StringSliceFlag{Name: "need", Usage: "`NAME=VALUE` label that the peer must have; repeatable"},
	&cli.StringSliceFlag{Name: "prefer", Usage: "`NAME=VALUE` preferred label among equal peers; repeatable"},
	&cli.StringFlag{Name: "runs", Usage: "`N` number of peers that run the task; different outcomes are an error (default: 1)"},
	&cli.BoolFlag{Name: "publish", Usage: "publish the output, as liftoff publish does"},
	&cli.BoolFlag{Name: "detach", Usage: "print the id of the job and do not wait; needs a running liftoff serve on this repo"},
	&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "print every event of the job to stderr"},
}

// placementSpec is the placement of a job, from flags or a task file.
type placementSpec struct {
	Where   string            `yaml:"where"`
	Need    map[string]string `yaml:"need"`
	Prefer  map[string]string `yaml:"prefer"`
	Runs    int               `yaml:"runs"`
	Publish bool              `yaml:"publish"`
}

// readFlags replaces values of the task file by those of flags, and adds to its labels.
func (s *placementSpec) readFlags(c *cli.Context) (err error) {
	if c.IsSet("where") {
		s.Where = c.String("where")
	}
	if c.IsSet("publish") {
		s.Publish = c.Bool("publish")
	}
	if text := c.String("runs"); text != "" {
		if _, err := fmt.Sscanf(text, "%d", &s.Runs); err != nil || fmt.Sprint(s.Runs) != text {
			return usagef("--runs %s: want a number from 1 to %d", quote(text), api.MaxRuns)
		}
		if s.Runs < 1 || s.Runs > api.MaxRuns {
			return usagef("--runs %s: want 1 to %d", quote(text), api.MaxRuns)
		}
	}
	if s.Need, err = addPairs(s.Need, "need", c.StringSlice("need")); err != nil {
		return err
	}
	s.Prefer, err = addPairs(s.Prefer, "prefer", c.StringSlice("prefer"))
	return err
}

// apply sets the placement of a request.
func (s placementSpec) apply(r *api.Request) error {
	if s.Runs < 0 || s.Runs > api.MaxRuns {
		return usagef("runs: got %d, want 1 to %d", s.Runs, api.MaxRuns)
	}
	if s.Where == api.WhereLocal && s.Runs > 1 {
		return usagef("--runs %d needs %d peers, and --where local is one", s.Runs, s.Runs)
	}
	if err := checkWhere(s.Where); err != nil {
		return err
	}
	r.Where, r.Need, r.Prefer, r.Runs, r.Publish = s.Where, s.Need, s.Prefer, s.Runs, s.Publish
	return nil
}

func checkWhere(where string) error {
	switch {
	case where == api.WhereBest || where == api.WhereLocal || where == api.WhereNetwork || api.IsShortPeer(where):
		return nil
	case strings.HasPrefix(where, "did:"):
		if _, err := job.DID(where).Key(); err != nil {
			return hinted(usagef("--where %s: %s", quote(where), err), "liftoff peers --no-trunc")
		}
		return nil
	case strings.HasPrefix(where, "12D3KooW"):
		return nil
	}
	return hinted(usagef("--where %s: want local, network, or the did:key or peer id of a peer", quote(where)), "liftoff peers --no-trunc")
}

// eventPrinter prints the events of a job to stderr: all of them, or those since other peers
// take part. Without all, a local run prints none. An event that repeats is printed every 10 seconds with a count.
type eventPrinter struct {
	p      *process
	prefix string // of each line; "" or an entry of --each
	all    bool
	mu     sync.Mutex
	remote bool // other peers take part

	repeats repeats
}

func (t *eventPrinter) print(e api.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remote = t.remote || isRemote(e)
	if e.Kind == api.EventFailed || e.Kind == api.EventDone && !t.all || !t.all && !t.remote {
		return // the error or the summary shows how it ended
	}
	if text := t.repeats.of(clean(e.Text), time.Now()); text != "" {
		t.p.say("liftoff: %s%s", t.prefix, text)
	}
}

// isRemote reports whether an event is about other peers.
func isRemote(e api.Event) bool {
	switch e.Kind {
	case api.EventAsked, api.EventAwarded, api.EventDeclined, api.EventLost, api.EventWaiting:
		return true
	}
	return false
}

// ranOn prints to stderr which other peer ran a job and how much data was fetched for it.
func (p *process) ranOn(j api.Job) {
	if j.Remote && j.Where != "" {
		p.say("liftoff: peer    %s%s", j.Where, heldThere(j))
	}
	if j.Fetched.Bytes > 0 {
		p.say("liftoff: fetched %s", fetchedThere(j.Fetched))
	}
}

// fetchedThere formats how much was fetched for a run. For a run of another peer only the
// bytes are known.
func fetchedThere(r api.Read) string {
	if r.Blocks == 0 {
		return size(r.Bytes)
	}
	return fmt.Sprintf("%s (%s)", count(r.Blocks, "block"), size(r.Bytes))
}

// heldThere formats how much of the inputs the peer that ran the job had, as its bid claims.
func heldThere(j api.Job) string {
	if j.Placement == nil {
		return ""
	}
	for _, b := range j.Placement.Bids {
		if b.Peer == j.Where {
			if b.Guess {
				return fmt.Sprintf(" (held %s)", size(int64(b.Have)))
			}
			return fmt.Sprintf(" (held %s of %s)", size(int64(b.Have)), size(int64(b.Have+b.Missing)))
		}
	}
	return ""
}

// printRuns prints the outcome of each peer, when several ran the job.
func (p *process) printRuns(j api.Job) {
	for _, r := range j.Runs {
		p.say("liftoff: run %s %s, receipt %s", r.Peer, r.Outcome, text(r.Receipt))
	}
}
