package scheduler

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// A peer with false claims gets a higher factor with each job, and a lower one when its claims
// become true.
func TestCalibrationFollows(t *testing.T) {
	var c Calibration
	if f := c.Factor("x"); f != 1 {
		t.Errorf("unknown peer: factor %f", f)
	}
	c.Observe("x", time.Second, time.Hour)
	first := c.Factor("x")
	if first <= maxTrustedFactor || first > maxFactor {
		t.Errorf("after one false claim: factor %f", first)
	}
	for range 50 {
		c.Observe("x", 0, time.Hour)
	}
	if f := c.Factor("x"); f < maxFactor-0.1 || f > maxFactor {
		t.Errorf("after many false claims: factor %f", f)
	}
	for range 50 {
		c.Observe("x", time.Hour, time.Second)
	}
	if f := c.Factor("x"); f < minFactor || f > 1 {
		t.Errorf("after many true claims: factor %f", f)
	}
	c.Observe("short", time.Millisecond, 5*time.Millisecond)
	if f := c.Factor("short"); f != 1 {
		t.Errorf("after a job of a few milliseconds: factor %f", f)
	}
}

// The number of remembered peers is bounded, and values restored from disk are clamped.
func TestCalibrationIsBounded(t *testing.T) {
	var c Calibration
	for i := range maxCalibrated + 10 {
		c.Observe(job.DID(fmt.Sprint(i)), 0, time.Hour)
	}
	if n := len(c.Snapshot()); n != maxCalibrated {
		t.Errorf("%d peers", n)
	}
	if c.Factor("0") != 1 || c.Factor(job.DID(fmt.Sprint(maxCalibrated+9))) == 1 {
		t.Error("the wrong peers were dropped")
	}
	var d Calibration
	d.Restore(c.Snapshot())
	if a, b := c.Factor("100"), d.Factor("100"); a != b {
		t.Errorf("restored %f as %f", a, b)
	}
	d.Restore(map[job.DID]float64{"nan": math.NaN(), "inf": math.Inf(1), "negative": -1, "zero": 0})
	for _, p := range []job.DID{"nan", "inf", "negative", "zero"} {
		if f := d.Factor(p); !(f >= minFactor && f <= maxFactor) {
			t.Errorf("%s: %f", p, f)
		}
	}
}

func TestBucketsAreBounded(t *testing.T) {
	a := NewAdmission(AdmissionConfig{})
	for i := range maxBuckets + 100 {
		if _, ok := a.Ask(job.DID(fmt.Sprint(i)), epoch); !ok {
			t.Fatalf("the first ask of requester %d was refused", i)
		}
	}
	if n := a.asks.order.Len(); n != maxBuckets || len(a.asks.of) != n {
		t.Errorf("%d and %d buckets", n, len(a.asks.of))
	}
}

// One requester cannot fill the memory of seen orders, and expired ones are removed.
func TestReplaysAreBounded(t *testing.T) {
	r := newReplays()
	j := job.Order{Issuer: "a", Expires: epoch.Add(time.Second).UnixMilli()}
	for i := range maxReplaysOfOne + 1 {
		j.Nonce[0], j.Nonce[1] = byte(i), byte(i>>8)
		if i == maxReplaysOfOne {
			j.Nonce[2] = 1
		}
		if ok := r.add(j, epoch); ok != (i < maxReplaysOfOne) {
			t.Fatalf("job %d: %v", i, ok)
		}
	}
	other := j
	other.Issuer = "b"
	if !r.add(other, epoch) {
		t.Error("an order of another requester was refused")
	}
	if later := epoch.Add(ClockSkew + 2*time.Second); !r.add(j, later) || len(r.seen) != 1 || len(r.byTime) != 1 || len(r.issued) != 1 {
		t.Errorf("%d orders are remembered after all have expired", len(r.seen))
	}
}

// Texts from a peer are bounded wherever they are stored.
func TestTextsAreBounded(t *testing.T) {
	long := string(make([]byte, 10*job.MaxRefusal)) + "é"
	p := NewPlacement(Config{}, Request{Job: job.Order{Runs: 1}, CID: named("x"), Self: "self", Where: OnNetwork})
	p.Step(Start{Peers: []Candidate{{Peer: "a"}, {Peer: "b"}}}, epoch)
	p.Step(Bid{Peer: "a", Bid: job.Bid{Code: job.RefuseBusy, Refusal: long}}, epoch)
	p.Step(AskFailed{Peer: "b", Why: long}, epoch)
	for _, r := range p.Record().Peers {
		if len(r.Why) > job.MaxRefusal+64 {
			t.Errorf("%d bytes about %s", len(r.Why), r.Peer)
		}
	}
}

// A Placement keeps a bounded number of peers, and reports how many it left out.
func TestKnownPeersAreBounded(t *testing.T) {
	cs := make([]Candidate, MaxKnown+5)
	for i := range cs {
		cs[i].Peer = job.DID(fmt.Sprint("p", i))
	}
	p := NewPlacement(Config{}, Request{Job: job.Order{Runs: 1}, CID: named("x"), Self: "self"})
	p.Step(Start{Self: Refuse(job.RefuseRole, "it only stores"), Peers: cs}, epoch)
	r := p.Record()
	n := len(r.Peers) + r.Omitted
	for _, s := range r.Skipped {
		n += s.Count
	}
	if r.Omitted != 6 || n != len(cs)+1 {
		t.Errorf("%d omitted, %d of %d explained", r.Omitted, n, len(cs)+1)
	}
}
