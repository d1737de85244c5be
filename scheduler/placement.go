package scheduler

import (
	"time"
)

// Placement is the requester's side of one job: it says whom to ask and which bid to
// take, watches the leases and tries again, until every replica has its result or
// nothing more can be done. It always ends, provided that it gets the Ticks it asks for.
type Placement struct {
	cfg Config
	req Request
	rec Record
}

// NewPlacement prepares a Placement; a Start begins it.
func NewPlacement(cfg Config, req Request) *Placement {
	return &Placement{cfg: cfg, req: req}
}

// Step takes one event that happened at now and returns what is to be done next, in
// order. now never goes backwards.
func (p *Placement) Step(ev Event, now time.Time) []Action {
	return nil
}

// Record returns what is known so far; the caller owns it.
func (p *Placement) Record() Record { return p.rec }

// Ended reports whether Finish or Fail was returned.
func (p *Placement) Ended() bool { return p.rec.Ended != "" }
