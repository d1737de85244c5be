package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/job"
)

// hope reports whether another round could bring what the last has not.
func (p *Placement) hope() bool {
	for _, q := range p.order {
		if q != p.self && (q.state == peerKnown || q.state == peerRefused || q.state == peerBid) {
			return true
		}
	}
	if p.req.Alone || p.req.Where != Anywhere && p.req.Where != OnNetwork {
		return false
	}
	return p.rec.Announce == 0 || len(p.order) == 1
}

// giveUp fails with the reason of every peer, and with what could be done about the
// most frequent ones.
func (p *Placement) giveUp(now time.Time) {
	code, what := CodeNoPeer, "no peer can run it"
	if slices.ContainsFunc(p.rec.Awards, func(a AwardRecord) bool { return a.State == AwardLost }) {
		code, what = CodeExhausted, "every peer that began it was lost"
	}
	if n := len(p.slots); n > 1 {
		what = fmt.Sprintf("%d of %s found no peer", p.empty(), count(n, "run"))
	}
	p.fail(code, p.sentence(what), p.hint(), now)
}

// maxReasons bounds how many different reasons a sentence lists.
const maxReasons = 8

// sentence lists the reasons, the most frequent first; peers with the same one share it.
func (p *Placement) sentence(what string) string {
	type reason struct {
		why   string
		peers []*peer
	}
	var reasons []*reason
	for _, q := range p.order {
		if q.why == "" || q.taken {
			continue
		}
		i := slices.IndexFunc(reasons, func(r *reason) bool { return r.why == q.why })
		if i < 0 {
			i = len(reasons)
			reasons = append(reasons, &reason{why: q.why})
		}
		reasons[i].peers = append(reasons[i].peers, q)
	}
	if len(p.order) == 1 && p.req.Where != Local {
		what += ": no other peer is known"
	}
	slices.SortStableFunc(reasons, func(a, b *reason) int { return len(b.peers) - len(a.peers) })
	var lines []string
	for i, r := range reasons {
		if i == maxReasons {
			lines = append(lines, fmt.Sprintf("and %s more", count(len(reasons)-i, "reason")))
			break
		}
		lines = append(lines, p.who(r.peers)+": "+r.why)
	}
	if len(lines) == 0 {
		return what
	}
	return what + "; " + strings.Join(lines, "; ")
}

func (p *Placement) who(qs []*peer) string {
	switch {
	case len(qs) > 1:
		return count(len(qs), "peer")
	case qs[0] == p.self:
		return "this node"
	}
	return Short(qs[0].did)
}

// hint is the next thing to try. It looks at the peers that came closest.
func (p *Placement) hint() string {
	n := map[string]int{}
	small := 0
	var memory uint64 // the most that a peer which is too small for the job allows
	for _, q := range p.order {
		if q.code == "" {
			continue
		}
		n[q.code]++
		if c := q.capacity; c != nil && (q.code == job.RefuseLimits || q.code == job.RefuseMemory) {
			most := c.Ceiling.OrDefault().Pages * pageSize
			if c.Memory > 0 {
				most = min(most, c.Memory)
			}
			memory = max(memory, most)
			small++
		}
	}
	switch want := memoryOf(p.req.Job); {
	case small > 0 && memory > 0 && memory < want:
		return fmt.Sprintf("%s would run it with --memory %s or less", count(small, "peer"), flagSize(memory))
	case small > 0:
		return fmt.Sprintf("%s would run it with smaller limits", count(small, "peer"))
	case n[job.RefuseLabels] > 0:
		return fmt.Sprintf("%s would run it without --need; `liftoff peers` lists the labels", count(n[job.RefuseLabels], "peer"))
	case n[job.RefuseBusy]+n[job.RefuseRate] > 0:
		return "they are busy: try again in a while, or start another peer: `liftoff serve`"
	case n[job.RefusePolicy] > 0 && job.Foreign(p.req.Work.ABI):
		return "ask their owners to list this node's key, as `liftoff id` shows it, in their policy.json"
	case n[job.RefusePolicy] > 0:
		return "ask their owner for an invitation: `liftoff cluster invite` prints one"
	case n[CodeDenied] > 0:
		return "this node sends jobs to members of its cluster (`liftoff cluster invite`) and to peers that it was told to connect to (`liftoff serve --connect ADDRESS`); see `liftoff peers`"
	case n[CodeUnreached]+n[CodeSilent] > 0:
		return "see whether `liftoff serve` runs there and its port can be reached: `liftoff peers`"
	case len(p.slots) > 1:
		return "ask for fewer runs, or start more peers: `liftoff serve`"
	case len(p.order) == 1 && p.req.Where != Local:
		return "join a network: `liftoff serve --join TOKEN`"
	}
	return ""
}

// flagSize is size as flags are typed: without a space.
func flagSize(n uint64) string { return strings.ReplaceAll(units.Bytes(n), " ", "") }
