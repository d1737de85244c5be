package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/job"
)

// State is the state of a provider at the moment of an Ask.
type State struct {
	Capacity  job.Capacity
	Load      Load
	Disk      uint64 // free bytes for blocks of others
	Bandwidth uint64 // incoming bytes per second; zero: DefaultBandwidth
	Uplink    uint64 // outgoing bytes per second; zero: DefaultBandwidth
	Closing   bool   // shutting down: it accepts no further jobs
}

// Offer returns a provider's answer to an Ask: its bid, or its refusal with a sentence as the
// reason. It uses nothing but its arguments, so it can be called first with a zero Locality: a
// refusal for another reason than disk space saves measuring what is held. The caller sets
// Bid.Order.
func Offer(j job.Order, w Work, s State, l Locality) job.Bid {
	if s.Closing {
		return Refuse(job.RefuseClosing, "it is shutting down")
	}
	if code, why := unfit(j, w, s.Capacity); code != "" {
		return Refuse(code, why)
	}
	if l.Missing > s.Disk {
		return Refuse(job.RefuseDisk, fmt.Sprintf("it has %s of free disk space, the inputs to fetch need %s", units.Bytes(s.Disk), units.Bytes(l.Missing)))
	}
	if s.Load.Full {
		return Refuse(job.RefuseBusy, "all slots are in use and its queue is full")
	}
	queue, fetch, run := cost(w, s, l)
	return job.Bid{
		Have: l.Have, Missing: l.Missing, Exact: l.Exact, Slots: s.Load.Free,
		Queue: toMillis(queue), Fetch: toMillis(fetch), Run: toMillis(run),
	}
}

// Refuse returns a Bid that refuses. why is a sentence about the provider, without a full stop.
func Refuse(code, why string) job.Bid {
	return job.Bid{Code: code, Refusal: truncate(why)}
}

// unfit returns why a peer of capacity c can never run j, however idle it is: a code of job.Bid and
// a sentence, or "". The requester calls it with the capacity record that it knows, the provider
// with its own.
func unfit(j job.Order, w Work, c job.Capacity) (code, why string) {
	if len(c.ABIs) == 0 {
		return job.RefuseRole, "it stores data only"
	}
	if !slices.Contains(c.ABIs, w.ABI) {
		return job.RefuseEngine, fmt.Sprintf("it runs modules of ABI %s, not %s", strings.Join(c.ABIs, ", "), w.ABI)
	}
	for _, k := range sortedKeys(j.Need) {
		switch have, ok := c.Labels[k]; {
		case !ok:
			return job.RefuseLabels, fmt.Sprintf("it has no label %s, want %s=%s", k, k, j.Need[k])
		case have != j.Need[k]:
			return job.RefuseLabels, fmt.Sprintf("it has the label %s=%s, want %s=%s", k, have, k, j.Need[k])
		}
	}
	want, most := j.Limits.OrDefault(), c.Ceiling.OrDefault()
	for _, l := range []struct {
		what       string
		want, most uint64
		show       func(uint64) string
	}{
		{"fuel", want.Fuel, most.Fuel, number},
		{"memory", want.Pages * pageSize, most.Pages * pageSize, units.Bytes[uint64]},
		{"output", want.Out, most.Out, units.Bytes[uint64]},
		{"scratch space", want.Tmp, most.Tmp, units.Bytes[uint64]},
		{"logs", want.Log, most.Log, units.Bytes[uint64]},
	} {
		if l.want > l.most {
			return job.RefuseLimits, fmt.Sprintf("it allows %s of %s, the job asks for %s", l.show(l.most), l.what, l.show(l.want))
		}
	}
	if need := want.Pages * pageSize; c.Memory > 0 && need > c.Memory {
		return job.RefuseMemory, fmt.Sprintf("it has %s of memory for jobs, the job asks for %s", units.Bytes(c.Memory), units.Bytes(need))
	}
	return "", ""
}

// met returns the share of j's preferred labels that c has.
func met(j job.Order, c *job.Capacity) float64 {
	if len(j.Prefer) == 0 || c == nil {
		return 0
	}
	n := 0
	for k, v := range j.Prefer {
		if have, ok := c.Labels[k]; ok && have == v {
			n++
		}
	}
	return float64(n) / float64(len(j.Prefer))
}

// pageSize is the size of a WebAssembly memory page in bytes.
const pageSize = 64 << 10
