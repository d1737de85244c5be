package market

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/gate"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Provider runs jobs for requesters: it is the node. Its methods are called concurrently, and only with valid input:
// an order that is signed by the peer at the other end, the Task that it names, and for an Award an order with this
// peer as its audience. The Provider checks expiry, replay and authorization.
type Provider interface {
	// Admit is called before any input of a peer is read: it checks a rate limit, and whether the node is closing.
	// The error, a *FailedError, is sent to the peer.
	Admit(from peer.ID) error
	// Ask prices a job or refuses it, before ctx ends. The caller sets Bid.Order.
	Ask(ctx context.Context, from peer.ID, r Request) job.Bid
	// Award reserves and starts the job, or declines with a *DeclinedError. It does not block. It returns the Run
	// that reports progress and the time until it starts.
	Award(ctx context.Context, from peer.ID, r Request, a Awarded) (*Run, time.Duration, error)
	// Attach returns the Run of an award of that peer, or a *FailedError if it does not know the award.
	Attach(ctx context.Context, from peer.ID, a Attach) (*Run, error)
}

// Request is a checked and decoded Ask.
type Request struct {
	Ask
	Envelope cid.Cid // names Ask.Order
	Signed   job.Order
	Work     job.Task // the decoded Ask.Task
}

// Awarded is a checked and decoded Award.
type Awarded struct {
	Award
	Envelope cid.Cid // names Award.Order, to which a Receipt refers
	Signed   job.Order
}

// Server is the provider's side of the market on a host.
type Server struct {
	host     p2phost.Host
	provider Provider
	cfg      Config
	self     job.DID

	ctx    context.Context // of all conversations, until Close
	cancel context.CancelCauseFunc

	gate *gate.Gate // counts the conversations
}

var errClosing = errors.New("node is shutting down")

// Serve handles the market's streams on h. The caller closes the Server.
func Serve(h p2phost.Host, p Provider, cfg Config) (*Server, error) {
	self, err := host.DIDOf(h.ID())
	if err != nil {
		return nil, fmt.Errorf("serve market: %w", err)
	}
	s := &Server{host: h, provider: p, cfg: cfg.orDefault(), self: self}
	s.gate = gate.New(gate.Config{Total: s.cfg.Conversations, PerPeer: s.cfg.PerPeer, NonMember: s.cfg.NonMember})
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	h.SetStreamHandler(Protocol, s.serve)
	return s, nil
}

// Close ends all conversations and waits for them. The caller first calls [Run.Fail] for runs that should go to
// another peer.
func (s *Server) Close() error {
	s.host.RemoveStreamHandler(Protocol)
	s.gate.Close()
	s.cancel(errClosing)
	s.gate.Wait()
	return nil
}

// Conversations returns the number of open conversations.
func (s *Server) Conversations() int { return s.gate.Open() }

func (s *Server) serve(st network.Stream) {
	w := newWire(st, s.cfg)
	from := w.peer()
	if !s.gate.Enter(from) {
		st.Reset()
		return
	}
	defer s.gate.Leave(from)
	err := s.converse(w)
	var failed *FailedError
	if errors.As(err, &failed) {
		err = w.send(&failedFrame{failed.Code, clip(failed.Why), failed.Final})
	}
	if err != nil {
		s.cfg.Logger.Debug("market stream ended", "peer", from, "err", err)
		st.Reset()
		return
	}
	st.Close()
}

// converse serves one stream.
func (s *Server) converse(w *wire) error {
	if err := s.provider.Admit(w.peer()); err != nil {
		return err
	}
	m, err := w.readMessage(s.ctx, s.cfg.Reply)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *askFrame:
		return s.asked(w, m)
	case *attachFrame:
		return s.attached(w, m)
	}
	return w.unexpected(m, "at the start of a market stream")
}

// invalid is the answer to input that is well-formed but breaks a rule of the market.
func invalid(err error) error { return &FailedError{Code: job.RefuseInvalid, Why: err.Error()} }

// signed decodes an order and checks that the peer signed it.
func (s *Server) signed(w *wire, envelope []byte) (job.Order, error) {
	j, err := job.DecodeOrder(envelope)
	if err != nil {
		return job.Order{}, invalid(err)
	}
	issuer, err := host.IDOf(j.Issuer)
	if err != nil {
		return job.Order{}, invalid(err)
	}
	if issuer != w.peer() {
		return job.Order{}, invalid(fmt.Errorf("order: signed by %s, want the peer that sends it", j.Issuer))
	}
	return j, nil
}

func (s *Server) asked(w *wire, m *askFrame) error {
	r, err := s.request(w, m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Reply)
	bid := s.provider.Ask(ctx, w.peer(), r)
	cancel()
	bid.Order = r.Envelope
	bid.Refusal = clip(bid.Refusal)
	b, err := bid.Encode()
	if err != nil {
		return fmt.Errorf("encode bid: %w", err)
	}
	if err := w.send(&bidFrame{b}); err != nil || bid.Refuses() {
		return err
	}
	next, err := w.readMessage(s.ctx, s.cfg.Hold)
	if err != nil {
		return err
	}
	switch next := next.(type) {
	case *awardFrame:
		return s.awarded(w, r, next)
	case *closeFrame:
		return nil
	}
	return w.unexpected(next, "while waiting for an award")
}

// request reads the rest of an Ask. It reads the Task only if the peer signed the order.
func (s *Server) request(w *wire, m *askFrame) (Request, error) {
	j, err := s.signed(w, m.order)
	if err != nil {
		return Request{}, err
	}
	b, err := w.read(s.ctx, MaxTask, s.cfg.Frame)
	if err != nil {
		return Request{}, err
	}
	if job.CIDOf(b) != j.Task {
		return Request{}, invalid(errors.New("task does not match the order"))
	}
	t, err := job.DecodeTask(b)
	if err != nil {
		return Request{}, invalid(err)
	}
	return Request{
		Ask: Ask{
			Order: m.order, Task: b, Engine: m.engine, Bytes: m.bytes, Module: m.module, Fuel: m.fuel, Output: m.output,
			Window: duration(m.window),
		},
		Envelope: job.CIDOf(m.order), Signed: j, Work: t,
	}, nil
}

func (s *Server) awarded(w *wire, r Request, m *awardFrame) error {
	a, err := s.award(w, r, m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Reply)
	run, start, err := s.provider.Award(ctx, w.peer(), r, a)
	cancel()
	var declined *DeclinedError
	if errors.As(err, &declined) {
		return w.send(&declineFrame{clip(declined.Why), millis(declined.Queue)})
	}
	if err != nil {
		return err
	}
	if err := w.send(&acceptFrame{millis(start)}); err != nil {
		run.detach(nil, Gone)
		return err
	}
	w.logLease(m.lease)
	return run.show(s.ctx, w, 0, 0)
}

// award checks that the award matches the bid and is for this peer.
func (s *Server) award(w *wire, r Request, m *awardFrame) (Awarded, error) {
	j, err := s.signed(w, m.order)
	if err != nil {
		return Awarded{}, err
	}
	if j.Audience != s.self || j.Task != r.Signed.Task {
		return Awarded{}, invalid(errors.New("awarded order is for another provider or another task than the bid"))
	}
	sources, err := sourcePeers(m.sources)
	if err != nil {
		return Awarded{}, invalid(err)
	}
	return Awarded{
		Award:    Award{Order: m.order, Lease: m.lease, For: duration(m.dur), Queue: duration(m.queue), Sources: sources},
		Envelope: job.CIDOf(m.order), Signed: j,
	}, nil
}

func (s *Server) attached(w *wire, m *attachFrame) error {
	j, err := cid.Cast(m.order)
	if err != nil {
		return invalid(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Reply)
	run, err := s.provider.Attach(ctx, w.peer(), Attach{Lease: m.lease, Stdout: m.stdout, Stderr: m.stderr, Order: j})
	cancel()
	if err != nil {
		return err
	}
	if err := w.send(&acceptFrame{}); err != nil {
		return err
	}
	w.logLease(m.lease)
	return run.show(s.ctx, w, m.stdout, m.stderr)
}
