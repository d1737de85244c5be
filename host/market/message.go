package market

import (
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Ask is what a provider needs to price a job without fetching anything.
type Ask struct {
	Order  []byte        // the envelope of the signed order
	Task   []byte        // the Task's bytes, named in Order
	Engine string        // named as in job.Capacity: "wasm"
	Bytes  uint64        // of the inputs and the module together; 0: unknown
	Fuel   uint64        // estimate from earlier runs of this module at this size; 0: unknown
	Module uint64        // bytes of the module alone; 0: unknown
	Output uint64        // expected bytes of the result; 0: unknown
	Window time.Duration // a later Bid is ignored
}

// Award gives the job to the peer that bid.
type Award struct {
	Order   []byte          // the envelope of the signed order, with this peer as its audience
	Lease   Lease           // names the award
	For     time.Duration   // duration of the lease; each Heartbeat renews it
	Queue   time.Duration   // the queue in the bid: the peer declines when it has become much busier
	Sources []peer.AddrInfo // other peers that hold inputs, the best first; at most MaxSources
}

// Accept confirms a reservation: the run begins within Start.
type Accept struct{ Start time.Duration }

// Attach resumes a conversation: after its stream broke, or after the requester was restarted. Output before the
// offsets is not sent again.
type Attach struct {
	Lease          Lease
	Stdout, Stderr uint64 // bytes that the requester already has
	Task           cid.Cid
	Order          cid.Cid // the awarded order's envelope
}

// Event is an event of a Conversation: a Heartbeat, a Log or a Done.
type Event interface{ event() }

// Heartbeat reports that the provider is alive, and the progress of the run.
type Heartbeat struct {
	Phase       string // "queue", "fetch", "compile", "run" or "pack"
	Fuel        uint64 // spent so far
	Done, Total uint64 // progress as reported by the guest; Total 0: not reported
	Fetched     uint64 // bytes of blocks fetched from other peers
}

// Log is a piece of the guest's output: Data begins Offset bytes into its stream. Offsets of a stream have no gap;
// after an Attach they begin at the requested offset.
type Log struct {
	Stream byte // 1 stdout, 2 stderr
	Offset uint64
	Data   []byte
}

// Done is the end of a run with an Outcome. The conversation has checked it: the Receipt is signed by the asked peer
// and belongs to the order, the lease and the Outcome, and the Outcome belongs to the Task. The blocks follow, see
// [Conversation.Blocks].
type Done struct {
	Receipt      job.Receipt
	ReceiptBytes []byte // its envelope, a dag-cbor block
	Outcome      job.Outcome
	OutcomeBytes []byte // a dag-cbor block
}

func (Heartbeat) event() {}
func (Log) event()       {}
func (Done) event()      {}

// The messages on the wire. The senders and receivers convert them to and from the types above.
type (
	askFrame struct {
		order                               []byte
		engine                              string
		bytes, module, fuel, output, window uint64
		_                                   struct{}
	}
	bidFrame   struct{ bid []byte }
	awardFrame struct {
		order      []byte
		lease      Lease
		dur, queue uint64 // ms
		sources    []string
	}
	acceptFrame  struct{ start uint64 }
	declineFrame struct {
		why   string
		queue uint64
	}
	attachFrame struct {
		order          []byte // binary CID
		lease          Lease
		stdout, stderr uint64
	}
	heartbeatFrame struct {
		phase                      string
		fuel, done, total, fetched uint64
	}
	renewFrame struct{}
	logFrame   struct {
		stream, off uint64
		data        []byte
	}
	doneFrame   struct{ receipt, outcome []byte }
	failedFrame struct {
		code, why string
		final     bool
	}
	closeFrame struct{ why string }
)

func init() {
	register(
		func() message { return new(askFrame) }, func() message { return new(bidFrame) },
		func() message { return new(awardFrame) }, func() message { return new(acceptFrame) },
		func() message { return new(declineFrame) }, func() message { return new(attachFrame) },
		func() message { return new(heartbeatFrame) }, func() message { return new(renewFrame) },
		func() message { return new(logFrame) }, func() message { return new(doneFrame) },
		func() message { return new(failedFrame) }, func() message { return new(closeFrame) },
	)
}

func (*askFrame) name() string       { return "ask" }
func (*bidFrame) name() string       { return "bid" }
func (*awardFrame) name() string     { return "award" }
func (*acceptFrame) name() string    { return "accept" }
func (*declineFrame) name() string   { return "decline" }
func (*attachFrame) name() string    { return "attach" }
func (*heartbeatFrame) name() string { return "heartbeat" }
func (*renewFrame) name() string     { return "renew" }
func (*logFrame) name() string       { return "log" }
func (*doneFrame) name() string      { return "done" }
func (*failedFrame) name() string    { return "failed" }
func (*closeFrame) name() string     { return "close" }

func (m *askFrame) fields(c *coder) {
	c.bytes("order", &m.order, job.MaxOrder)
	c.text("engine", &m.engine, maxWord)
	c.uint("bytes", &m.bytes)
	c.uint("module", &m.module)
	c.uint("fuel", &m.fuel)
	c.uint("output", &m.output)
	c.uint("window", &m.window)
}

func (m *bidFrame) fields(c *coder) { c.bytes("bid", &m.bid, job.MaxBid) }

func (m *awardFrame) fields(c *coder) {
	c.bytes("order", &m.order, job.MaxOrder)
	c.lease("lease", &m.lease)
	c.uint("for", &m.dur)
	c.uint("queue", &m.queue)
	c.texts("sources", &m.sources, MaxSources*maxAddrs, maxText)
}

func (m *acceptFrame) fields(c *coder) { c.uint("start", &m.start) }

func (m *declineFrame) fields(c *coder) {
	c.text("why", &m.why, maxText)
	c.uint("queue", &m.queue)
}

func (m *attachFrame) fields(c *coder) {
	c.bytes("order", &m.order, 160)
	c.lease("lease", &m.lease)
	c.uint("stdout", &m.stdout)
	c.uint("stderr", &m.stderr)
}

func (m *heartbeatFrame) fields(c *coder) {
	c.text("phase", &m.phase, maxWord)
	c.uint("fuel", &m.fuel)
	c.uint("done", &m.done)
	c.uint("total", &m.total)
	c.uint("fetched", &m.fetched)
}

func (*renewFrame) fields(*coder) {}

func (m *logFrame) fields(c *coder) {
	c.uint("fd", &m.stream)
	c.uint("off", &m.off)
	c.bytes("data", &m.data, MaxLog)
	if m.stream != 1 && m.stream != 2 {
		c.fail("field %q is %d, want 1 or 2", "fd", m.stream)
	}
	if len(m.data) == 0 {
		c.fail("field %q is empty", "data")
	}
}

func (m *doneFrame) fields(c *coder) {
	c.bytes("receipt", &m.receipt, MaxControl)
	c.bytes("outcome", &m.outcome, MaxControl)
}

func (m *failedFrame) fields(c *coder) {
	c.text("code", &m.code, maxWord)
	c.text("why", &m.why, maxText)
	c.bool("final", &m.final)
}

func (m *closeFrame) fields(c *coder) {
	c.text("why", &m.why, maxWord)
	switch Why(m.why) {
	case OK, Lost, Cancelled:
	default:
		c.fail("field %q: unknown reason %.40q", "why", m.why)
	}
}

// clip makes a text fit a frame: it replaces control characters and cuts it to maxText.
func clip(s string) string {
	if checkText(s, maxText) == nil {
		return s
	}
	clean := make([]byte, 0, maxText)
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			r = ' '
		}
		if len(clean)+4 > maxText {
			break
		}
		clean = append(clean, string(r)...)
	}
	return string(clean)
}

func millis(d time.Duration) uint64 { return uint64(max(0, d.Milliseconds())) }

// maxMillis limits a duration from a peer to a year.
const maxMillis = 365 * 24 * 60 * 60 * 1000

func duration(ms uint64) time.Duration { return time.Duration(min(ms, maxMillis)) * time.Millisecond }

// sourceTexts encodes peers as multiaddrs that end in /p2p/ID.
func sourceTexts(peers []peer.AddrInfo) ([]string, error) {
	var list []string
	for _, p := range peers[:min(len(peers), MaxSources)] {
		if len(p.Addrs) == 0 {
			list = append(list, "/p2p/"+p.ID.String())
			continue
		}
		p.Addrs = p.Addrs[:min(len(p.Addrs), maxAddrs)]
		addrs, err := peer.AddrInfoToP2pAddrs(&p)
		if err != nil {
			return nil, fmt.Errorf("source of inputs %s: %w", p.ID, err)
		}
		for _, a := range addrs {
			list = append(list, a.String())
		}
	}
	return list, nil
}

func sourcePeers(texts []string) ([]peer.AddrInfo, error) {
	var peers []peer.AddrInfo
	at := map[peer.ID]int{}
	for _, s := range texts {
		p, err := host.ParsePeerAddr(s)
		if err != nil {
			return nil, fmt.Errorf("source of inputs %.80q: %w", s, err)
		}
		i, known := at[p.ID]
		if !known {
			if len(peers) == MaxSources {
				return nil, fmt.Errorf("sources of inputs: want at most %d peers", MaxSources)
			}
			at[p.ID] = len(peers)
			peers = append(peers, *p)
			continue
		}
		peers[i].Addrs = append(peers[i].Addrs, p.Addrs...)
	}
	return peers, nil
}
