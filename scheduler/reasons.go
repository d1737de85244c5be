package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/job"
)

// retryUseful reports whether another round could find a bid that the last round did not.
func (p *Placement) retryUseful() bool {
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

// failWithReasons fails the Placement with the reason of every peer, and a hint for the most frequent
// reason.
func (p *Placement) failWithReasons(now time.Time) {
	code, what := CodeNoPeer, "no peer can run the job"
	if slices.ContainsFunc(p.rec.Awards, func(a AwardRecord) bool { return a.State == AwardLost }) {
		code, what = CodeExhausted, "every peer that started the job was lost"
	}
	if n := len(p.slots); n > 1 {
		what = fmt.Sprintf("no peer found for %d of %s", p.empty(), count(n, "run"))
	}
	p.fail(code, p.sentence(what), p.hint(), now)
}

// maxReasons is the maximum number of different reasons in a sentence.
const maxReasons = 8

// sentence lists the reasons, the most frequent first. Peers with the same reason share an entry.
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
	separator := ": "
	if len(p.order) == 1 && p.req.Where != Local {
		what, separator = what+": no other peer is known", "; "
	}
	slices.SortStableFunc(reasons, func(a, b *reason) int { return len(b.peers) - len(a.peers) })
	var lines []string
	for i, r := range reasons {
		if i == maxReasons {
			lines = append(lines, fmt.Sprintf("and %s more", count(len(reasons)-i, "reason")))
			break
		}
		lines = append(lines, clause(p.subject(r.peers), len(r.peers), r.why))
	}
	if len(lines) == 0 {
		return what
	}
	return what + separator + strings.Join(lines, "; ")
}

// clause joins a subject of n peers and a reason, which is a sentence about one peer: "it has no label disk" becomes
// "2 peers have no label disk". A reason with another subject follows a colon.
func clause(subject string, n int, why string) string {
	rest, ok := strings.CutPrefix(why, "it ")
	if !ok {
		return subject + ": " + why
	}
	verb, object, _ := strings.Cut(rest, " ")
	if plural, ok := plurals[verb]; ok && n > 1 {
		verb = plural
	}
	return strings.TrimSuffix(subject+" "+verb+" "+object, " ")
}

// plurals has the verbs of reasons whose plural differs.
var plurals = map[string]string{"has": "have", "is": "are", "runs": "run", "allows": "allow", "stores": "store", "does": "do", "was": "were"}

func (p *Placement) subject(qs []*peer) string {
	switch {
	case len(qs) > 1:
		return count(len(qs), "peer")
	case qs[0] == p.self:
		return "this node"
	}
	return Short(qs[0].did)
}

// hint returns the next thing to try, for the peers that came closest.
func (p *Placement) hint() string {
	n := map[string]int{}
	small := 0
	var memory uint64 // the largest limit of the peers that are too small for the job
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
		return fmt.Sprintf("try --memory %s: %s could run the job with it", flagSize(memory), count(small, "peer"))
	case small > 0:
		return fmt.Sprintf("try smaller limits: %s could run the job with them", count(small, "peer"))
	case n[job.RefuseLabels] > 0:
		return fmt.Sprintf("try without --need: %s could run the job; `liftoff peers` lists the labels", count(n[job.RefuseLabels], "peer"))
	case n[job.RefuseBusy]+n[job.RefuseRate] > 0:
		return "all suitable peers are busy: try again later, or start another peer: `liftoff serve`"
	case n[job.RefusePolicy] > 0 && job.Foreign(p.req.Work.ABI):
		return "ask the owners of the peers to add this node's key (`liftoff id`) to their policy.json"
	case n[job.RefusePolicy] > 0:
		return "ask an admin of their cluster for an invitation (`liftoff cluster invite`), then `liftoff cluster join TOKEN`"
	case n[CodeDenied] > 0:
		return "this node sends jobs only to members of its cluster (`liftoff cluster invite`) and to peers named by `liftoff serve --connect ADDRESS`; see `liftoff peers`"
	case n[CodeUnreached]+n[CodeSilent] > 0:
		return "check that `liftoff serve` runs there and that its port is reachable: `liftoff peers`"
	case len(p.slots) > 1:
		return "ask for fewer --runs, or start more peers: `liftoff serve`"
	case len(p.order) == 1 && p.req.Where != Local:
		return "join a network: `liftoff serve --join TOKEN`"
	}
	return ""
}

// flagSize is size in the form that flags accept: without a space.
func flagSize(n uint64) string { return strings.ReplaceAll(units.Bytes(n), " ", "") }
