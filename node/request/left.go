package request

import (
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// Left is what is left of a job when its requester's process ends: with it the next one
// takes the job up.
type Left struct {
	Leases  []Lease  `json:"leases,omitempty"`  // of the peers that are at it
	Results []Result `json:"results,omitempty"` // of runs that have ended, while others have not
}

// takeUp prepares the driver for what was left, and says it in the scheduler's words.
func (d *driver) takeUp(l Left) (all []scheduler.Left) {
	for _, r := range l.Results {
		d.results[r.Peer] = r
		all = append(all, scheduler.Left{
			Peer: r.Peer, Result: scheduler.Result{Peer: r.Peer, Outcome: r.Outcome, Receipt: r.Receipt},
		})
	}
	for _, lease := range l.Leases {
		name := scheduler.Lease(lease.Lease)
		d.runs[name] = &occupation{lease: lease, said: d.Printed.run(lease.Peer, false), cancel: func(error) {}, talk: &talk{d: d, awarded: true}, lost: true}
		all = append(all, scheduler.Left{Peer: lease.Peer, Lease: name})
	}
	return all
}

// found tells, once, that a run that was left is found again.
func (d *driver) found(o *occupation) {
	if o.lost {
		o.lost = false
		d.Node.Event(api.Event{Kind: api.EventNote, Peer: string(o.lease.Peer), Text: "found again where it ran: " + scheduler.Short(o.lease.Peer)})
	}
}

// tellLeft tells the World what would be left of the job if this process ended now.
func (d *driver) tellLeft() {
	var l Left
	for _, o := range d.runs {
		if o.talk != nil {
			l.Leases = append(l.Leases, o.lease)
		}
	}
	if d.Request.Job.Runs > 1 {
		for _, r := range d.results {
			if r.Remote {
				l.Results = append(l.Results, r)
			}
		}
	}
	d.Node.Left(l)
}
