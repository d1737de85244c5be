//go:build !windows

package main

import (
	"fmt"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// placementFlags say where a job runs. They are those of run and job rerun.
var placementFlags = []cli.Flag{
	&cli.StringFlag{Name: "where", Usage: "run it at `PLACE`: local (this node), network (any other), or a DID or peer id of liftoff peers; at the best when left out"},
	&cli.StringSliceFlag{Name: "need", Usage: "run it at a peer with the label `NAME=VALUE` alone; may be repeated"},
	&cli.StringSliceFlag{Name: "prefer", Usage: "of peers that are equally good, take one with the label `NAME=VALUE`; may be repeated"},
	&cli.StringFlag{Name: "runs", Usage: "run it at `N` peers and compare the outcomes: exit code 123 when they differ"},
	&cli.BoolFlag{Name: "publish", Usage: "publish the output, as liftoff publish does"},
	&cli.BoolFlag{Name: "detach", Usage: "print the job's id and do not wait for it; needs a liftoff serve that does"},
	&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "print a line for each change of the job's state, be it local"},
}

// placementSpec is where a job is to run, as flags or a task file say it.
type placementSpec struct {
	Where   string            `yaml:"where"`
	Need    map[string]string `yaml:"need"`
	Prefer  map[string]string `yaml:"prefer"`
	Runs    int               `yaml:"runs"`
	Publish bool              `yaml:"publish"`
}

// readFlags lets the flags replace what the file says, and add to its labels.
func (s *placementSpec) readFlags(c *cli.Context) (err error) {
	if c.IsSet("where") {
		s.Where = c.String("where")
	}
	if c.IsSet("publish") {
		s.Publish = c.Bool("publish")
	}
	if text := c.String("runs"); text != "" {
		if _, err := fmt.Sscanf(text, "%d", &s.Runs); err != nil || fmt.Sprint(s.Runs) != text {
			return usagef("--runs %s: it is a number", quote(text))
		}
		if s.Runs < 1 || s.Runs > api.MaxRuns {
			return usagef("--runs %s: between 1 and %d", quote(text), api.MaxRuns)
		}
	}
	if s.Need, err = addPairs(s.Need, "need", c.StringSlice("need")); err != nil {
		return err
	}
	s.Prefer, err = addPairs(s.Prefer, "prefer", c.StringSlice("prefer"))
	return err
}

// apply enters the placement into a request.
func (s placementSpec) apply(r *api.Request) error {
	if s.Runs < 0 || s.Runs > api.MaxRuns {
		return usagef("%d runs: between 1 and %d", s.Runs, api.MaxRuns)
	}
	if s.Where == api.WhereLocal && s.Runs > 1 {
		return usagef("%d runs run at as many peers: --where local is one", s.Runs)
	}
	if err := checkWhere(s.Where); err != nil {
		return err
	}
	r.Where, r.Need, r.Prefer, r.Runs, r.Publish = s.Where, s.Need, s.Prefer, s.Runs, s.Publish
	return nil
}

func checkWhere(where string) error {
	switch {
	case where == api.WhereBest || where == api.WhereLocal || where == api.WhereNetwork:
		return nil
	case strings.HasPrefix(where, "did:"):
		if _, err := job.DID(where).Key(); err != nil {
			return hinted(usagef("--where %s: %s", quote(where), err), "liftoff peers")
		}
		return nil
	case strings.HasPrefix(where, "12D3KooW"):
		return nil
	}
	return hinted(usagef("--where %s: it is local, network, or the DID or peer id of a peer", quote(where)), "liftoff peers")
}

// story tells on stderr what becomes of a job: all of it, or what happens once others
// take part. A run that stays here is as quiet as the guest is.
type story struct {
	p      *process
	who    string // in front of each line; "" or an entry of --each
	all    bool
	mu     sync.Mutex
	abroad bool // others take part
}

func (t *story) tell(e api.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abroad = t.abroad || isAbroad(e)
	if e.Kind == api.EventFailed || e.Kind == api.EventDone && !t.all || !t.all && !t.abroad {
		return // an error or the summary says how it ended
	}
	t.p.say("liftoff: %s%s", t.who, clean(e.Text))
}

// isAbroad reports whether an event is about other peers.
func isAbroad(e api.Event) bool {
	switch e.Kind {
	case api.EventAsked, api.EventAwarded, api.EventDeclined, api.EventLost, api.EventWaiting:
		return true
	}
	return false
}

// ranOn says on stderr which peer ran a job, unless it is this one, and what crossed the
// wire for it.
func (p *process) ranOn(j api.Job) {
	if j.Remote && j.Where != "" {
		p.say("liftoff: peer    %s%s", j.Where, heldThere(j))
	}
	if j.Fetched.Bytes > 0 {
		p.say("liftoff: fetched %s", fetchedThere(j.Fetched))
	}
}

// fetchedThere says what came from elsewhere for a run. Of another peer's run, the bytes
// alone are known.
func fetchedThere(r api.Read) string {
	if r.Blocks == 0 {
		return size(r.Bytes)
	}
	return fmt.Sprintf("%s (%s)", count(r.Blocks, "block"), size(r.Bytes))
}

// heldThere says what the peer that ran the job had of its inputs, in its own words.
func heldThere(j api.Job) string {
	if j.Placement == nil {
		return ""
	}
	for _, b := range j.Placement.Bids {
		if b.Peer == j.Where {
			return fmt.Sprintf(" (held %s of %s)", size(int64(b.Have)), size(int64(b.Have+b.Missing)))
		}
	}
	return ""
}

// printRuns says what each peer came to, when several ran the job.
func (p *process) printRuns(j api.Job) {
	for _, r := range j.Runs {
		p.say("liftoff: run %s %s, receipt %s", r.Peer, r.Outcome, text(r.Receipt))
	}
}
