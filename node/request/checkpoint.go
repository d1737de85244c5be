package request

import (
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// Checkpoint is the state of a job that a later process of the requester needs to continue it.
type Checkpoint struct {
	Leases  []Lease  `json:"leases,omitempty"`  // of the running awards at peers
	Results []Result `json:"results,omitempty"` // of runs that have ended while others have not
}

// resume prepares the driver for the runs of l, and returns them as the scheduler expects them.
func (d *driver) resume(l Checkpoint) (all []scheduler.PriorRun) {
	for _, r := range l.Results {
		d.results[r.Peer] = r
		all = append(all, scheduler.PriorRun{
			Peer: r.Peer, Result: scheduler.Result{Peer: r.Peer, Outcome: r.Outcome, Receipt: r.Receipt},
		})
	}
	for _, lease := range l.Leases {
		name := scheduler.Lease(lease.Lease)
		d.runs[name] = &activeRun{lease: lease, transcript: d.Printed.run(lease.Peer, false), cancel: func(error) {}, talk: &talk{d: d, awarded: true}, lost: true}
		all = append(all, scheduler.PriorRun{Peer: lease.Peer, Lease: name})
	}
	return all
}

// found reports, once, that a run of an earlier process was found again.
func (d *driver) found(o *activeRun) {
	if o.lost {
		o.lost = false
		d.Node.Event(api.Event{Kind: api.EventNote, Peer: string(o.lease.Peer), Text: "the run was found again on " + scheduler.Short(o.lease.Peer)})
	}
}

// saveCheckpoint passes the current Checkpoint to the Node.
func (d *driver) saveCheckpoint() {
	var l Checkpoint
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
	d.Node.SaveCheckpoint(l)
}
