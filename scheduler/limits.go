package scheduler

import (
	"container/heap"
	"container/list"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

const (
	maxBuckets      = 4096    // requesters with a rate limit
	maxReplays      = 1 << 17 // remembered orders
	maxReplaysOfOne = 1 << 14 // of one requester
)

// buckets holds a token bucket for each requester. When there are too many, the one used least
// recently is dropped: it is the most likely to be full, and a full bucket is the same as none.
type buckets struct {
	rate  float64
	burst float64
	of    map[job.DID]*list.Element
	order *list.List // of *bucket, the one used last in front
}

type bucket struct {
	requester job.DID
	tokens    float64
	at        time.Time
}

func newBuckets(rate float64, burst int) buckets {
	return buckets{rate: rate, burst: float64(burst), of: map[job.DID]*list.Element{}, order: list.New()}
}

func (b *buckets) take(requester job.DID, now time.Time) bool {
	el, ok := b.of[requester]
	if !ok {
		if b.order.Len() >= maxBuckets {
			last := b.order.Back()
			delete(b.of, b.order.Remove(last).(*bucket).requester)
		}
		el = b.order.PushFront(&bucket{requester, b.burst, now})
		b.of[requester] = el
	}
	b.order.MoveToFront(el)
	k := el.Value.(*bucket)
	if d := now.Sub(k.at); d > 0 {
		k.tokens = min(b.burst, k.tokens+d.Seconds()*b.rate)
		k.at = now
	}
	if k.tokens < 1 {
		return false
	}
	k.tokens--
	return true
}

// replays remembers accepted orders until they have certainly expired. It never forgets one before:
// when it is full, no order is accepted.
type replays struct {
	seen   map[replay]bool
	issued map[job.DID]int
	byTime replayHeap
}

type replay struct {
	issuer job.DID
	nonce  [16]byte
}

type timedReplay struct {
	replay
	until time.Time
}

func newReplays() replays {
	return replays{seen: map[replay]bool{}, issued: map[job.DID]int{}}
}

func (r *replays) has(j job.Order, now time.Time) bool {
	r.forget(now)
	return r.seen[replay{j.Issuer, j.Nonce}]
}

// add remembers j, which must not be in r. It returns false when r is full.
func (r *replays) add(j job.Order, now time.Time) bool {
	r.forget(now)
	if len(r.seen) >= maxReplays || r.issued[j.Issuer] >= maxReplaysOfOne {
		return false
	}
	k := replay{j.Issuer, j.Nonce}
	r.seen[k] = true
	r.issued[j.Issuer]++
	// One millisecond longer than Timely accepts it.
	heap.Push(&r.byTime, timedReplay{k, time.UnixMilli(j.Expires + 1).Add(ClockSkew)})
	return true
}

func (r *replays) forget(now time.Time) {
	for len(r.byTime) > 0 && r.byTime[0].until.Before(now) {
		k := heap.Pop(&r.byTime).(timedReplay).replay
		delete(r.seen, k)
		if r.issued[k.issuer]--; r.issued[k.issuer] == 0 {
			delete(r.issued, k.issuer)
		}
	}
}

// replayHeap is a heap with the earliest time in front.
type replayHeap []timedReplay

func (h replayHeap) Len() int           { return len(h) }
func (h replayHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h replayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *replayHeap) Push(v any)        { *h = append(*h, v.(timedReplay)) }
func (h *replayHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	*h = old[:len(old)-1]
	return v
}
