package node

import (
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// toPlacement converts the scheduler's record of a placement into the API's type.
func toPlacement(r scheduler.Record) *api.Placement {
	p := &api.Placement{Where: r.Where, Attempts: r.Attempts, Omitted: r.Omitted, Announced: r.Announce, Ended: r.Ended}
	for _, q := range r.Peers {
		p.Bids = append(p.Bids, api.Bid{
			Peer: string(q.Peer), Self: q.Self, Holder: q.Holder, Attempt: q.Attempt, RTT: q.RTT,
			Have: q.Have, Missing: q.Missing, Exact: q.Exact, Guess: q.Guess, Queue: q.Queue, Fetch: q.Fetch, Run: q.Run, Slots: q.Slots,
			Factor: q.Factor, Score: q.Score, Code: q.Code, Why: q.Why,
		})
	}
	for _, s := range r.Skipped {
		p.Skipped = append(p.Skipped, api.Skip{Code: s.Code, Why: s.Why, Count: s.Count, Peers: didTexts(s.Peers)})
	}
	for _, a := range r.Awards {
		award := api.Award{
			Slot: a.Slot, Attempt: a.Attempt, Peer: string(a.Peer), Self: a.Self, Lease: a.Lease.String(), At: a.At.UTC(),
			Claimed: a.Claimed, Took: a.Took, State: a.State, Why: a.Why,
		}
		if a.Result != nil {
			award.Result = &api.RunResult{Peer: string(a.Result.Peer), Outcome: a.Result.Outcome, Receipt: a.Result.Receipt}
		}
		p.Awards = append(p.Awards, award)
	}
	return p
}

func didTexts(dids []job.DID) []string {
	texts := make([]string, len(dids))
	for i, d := range dids {
		texts[i] = string(d)
	}
	return texts
}
