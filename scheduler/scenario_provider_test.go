package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// provider is the stage of an Admission and of Offer.
type provider struct {
	a   *Admission
	now time.Time
	s   State
}

func newProvider(c command) *provider {
	p := &provider{now: epoch}
	p.a = NewAdmission(AdmissionConfig{
		Slots: c.int("slots", 1), Memory: c.bytes("memory"), Queue: c.int("queue", 0), PerRequester: c.int("share", 0), Burst: c.int("burst", 0),
	})
	p.s = State{
		Capacity: job.Capacity{
			ABIs: []string{job.ABIWASI}, Slots: c.int("slots", 1), Memory: c.bytes("memory"), Labels: c.labels("labels"), Rate: c.bytes("rate"),
			Ceiling: job.Limits{Pages: c.bytes("ceiling") / pageSize},
		},
		Disk: 1 << 40, Bandwidth: c.bytes("bandwidth"), Uplink: c.bytes("uplink"), Closing: c.is("closing"),
	}
	if d := c.bytes("disk"); d > 0 {
		p.s.Disk = d
	}
	if c.is("stores") {
		p.s.Capacity.ABIs = nil
	}
	return p
}

func (p *provider) play(c command) error {
	var word string
	if len(c.words) > 0 {
		word = c.words[0]
	}
	switch c.verb {
	case "after":
		return p.after(c)
	case "ask":
		ok, refusal := 0, ""
		n := c.int("times", 1)
		for range n {
			b, yes := p.a.Ask(job.DID(word), p.now)
			if yes {
				ok++
			} else {
				refusal = b.Code + ": " + b.Refusal
			}
		}
		c.say("%d of %d pass%s", ok, n, unless(refusal == "", ", then "+refusal))
	case "offer":
		p.offer(c)
	case "award":
		p.award(c)
	case "renew":
		c.say("%v", p.a.Renew(leaseOf(word), p.now))
	case "release":
		c.say("started %s", leases(p.a.Release(leaseOf(word), p.now)))
	case "load":
		l := p.a.Load(memoryOf(job.Order{Limits: c.limits()}), p.now)
		c.say("%d running, %d waiting: free %d, queue %s%s", p.a.Running(), p.a.Waiting(), l.Free, l.Queue, unless(!l.Full, ", full"))
	default:
		return fmt.Errorf("unknown verb of a provider")
	}
	return nil
}

func (p *provider) offer(c command) {
	j := job.Order{Need: c.labels("need"), Limits: c.limits()}
	p.s.Load = p.a.Load(memoryOf(j), p.now)
	abi := orDefaultText(c.str("abi"), job.ABIWASI)
	b := Offer(j, Work{ABI: abi, Fuel: c.bytes("fuel"), Output: c.bytes("output")}, p.s, Locality{
		Have: c.bytes("have"), Missing: c.bytes("missing"), Exact: true, Depth: c.int("depth", 0), RTT: c.time("rtt"),
	})
	if b.Refuses() {
		c.say("refuses, %s: %s", b.Code, b.Refusal)
		return
	}
	c.say("have %d, missing %d, queue %d ms, fetch %d ms, run %d ms, slots %d", b.Have, b.Missing, b.Queue, b.Fetch, b.Run, b.Slots)
}

func (p *provider) award(c command) {
	word := c.words[0]
	r := Reservation{
		Lease: leaseOf(word), For: 15 * time.Second, Queue: c.time("bid"), Expect: c.time("expect"), Own: c.is("own"),
		Job: job.Order{
			Issuer: job.DID(orDefaultText(c.str("from"), "r")), Limits: c.limits(), Priority: c.int("priority", 0),
			Issued: epoch.Add(c.time("issued")).UnixMilli(), Expires: epoch.Add(c.time("expires")).UnixMilli(),
		},
	}
	if c.value["expires"] == "" {
		r.Job.Expires = epoch.Add(time.Hour).UnixMilli()
	}
	copy(r.Job.Nonce[:], orDefaultText(c.str("nonce"), word))
	g, err := p.a.Accept(r, p.now)
	var d *Decline
	switch {
	case errors.As(err, &d):
		c.say("declines, %s: %s%s", d.Code, d.Why, unless(d.Queue == 0, fmt.Sprintf(" (still would, in %s)", d.Queue)))
	case g.Started:
		c.say("accepts, starts now")
	default:
		c.say("accepts, starts in %s", g.Start)
	}
}

// after advances the time, with an Expire whenever one is due.
func (p *provider) after(c command) error {
	d, err := time.ParseDuration(c.words[0])
	if err != nil {
		return err
	}
	end := p.now.Add(d)
	for {
		at, ok := p.a.Next()
		if !ok || at.After(end) {
			break
		}
		p.now = at
		ended, started := p.a.Expire(at)
		if len(ended) == 0 {
			return fmt.Errorf("Next returned %s, but Expire ended no lease", at.Sub(epoch))
		}
		c.say("[%s] expired %s, started %s", at.Sub(epoch), leases(ended), leases(started))
	}
	p.now = end
	return nil
}

func leaseOf(s string) (l Lease) {
	copy(l[:], s)
	return l
}

func leases(ls []Lease) string {
	if len(ls) == 0 {
		return "none"
	}
	var s []string
	for _, l := range ls {
		s = append(s, strings.TrimRight(string(l[:]), "\x00"))
	}
	return strings.Join(s, " ")
}
