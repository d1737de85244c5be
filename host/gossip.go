package host

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/job"
)

// The topics. Gossip is best effort: the next hint replaces a lost one, and anything that matters is also sent over a
// stream.
const (
	capacityTopic = "/liftoff/capacity/1"
	jobsTopic     = "/liftoff/jobs/1"
)

const (
	maxGossip       = 64 << 10 // bytes of a gossipsub frame
	clockSkew       = 5 * time.Minute
	maxOwnAnnounces = 256 // own announcements that wait for answers
	maxAnnounces    = 64  // received announcements that wait for the goroutine that answers them
)

// gossip is this node's use of gossipsub.
type gossip struct {
	p         *Peer
	capacity  *pubsub.Topic
	jobs      *pubsub.Topic
	lookups   chan lookupRequest
	announces chan receivedAnnounce
	authors   authors

	mu        sync.Mutex
	callbacks map[string]func(peer.ID) // by the announce's CID
}

type receivedAnnounce struct {
	cid cid.Cid
	job.Announce
}

// newGossip joins the topics. Its goroutines end with p.ctx.
func newGossip(p *Peer) (*gossip, error) {
	g := &gossip{
		p: p, lookups: make(chan lookupRequest, maxLookups), announces: make(chan receivedAnnounce, maxAnnounces),
		callbacks: map[string]func(peer.ID){},
	}
	log := slog.New(demoted{p.cfg.Log.Handler()})
	ps, err := pubsub.NewGossipSub(p.ctx, p.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMaxMessageSize(maxGossip),
		pubsub.WithFloodPublish(false),
		pubsub.WithPeerExchange(false),
		pubsub.WithPeerOutboundQueueSize(64),
		pubsub.WithValidateWorkers(1),
		pubsub.WithValidateQueueSize(128),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(capacityTopic, jobsTopic), 8)),
		pubsub.WithPeerFilter(func(id peer.ID, _ string) bool { return p.gater.allows(id, JoinGossip) }),
		pubsub.WithPeerScore(scores()),
		pubsub.WithLogger(log), pubsub.WithRPCLogger(log),
	)
	if err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	if g.capacity, err = g.join(ps, capacityTopic, g.checkHint); err != nil {
		return nil, err
	}
	if g.jobs, err = g.join(ps, jobsTopic, g.checkJobs); err != nil {
		return nil, err
	}
	p.start(g.lookupLoop)
	p.start(g.answer)
	return g, nil
}

// join subscribes to a topic. Messages are handled by the validator; delivered ones are discarded.
func (g *gossip) join(ps *pubsub.PubSub, name string, check pubsub.ValidatorEx) (*pubsub.Topic, error) {
	if err := ps.RegisterTopicValidator(name, check, pubsub.WithValidatorInline(true)); err != nil {
		return nil, fmt.Errorf("join gossip topic %s: %w", name, err)
	}
	t, err := ps.Join(name)
	if err != nil {
		return nil, fmt.Errorf("join gossip topic %s: %w", name, err)
	}
	sub, err := t.Subscribe(pubsub.WithBufferSize(64))
	if err != nil {
		return nil, fmt.Errorf("join gossip topic %s: %w", name, err)
	}
	g.p.start(func() {
		defer sub.Cancel()
		for {
			if _, err := sub.Next(g.p.ctx); err != nil {
				return
			}
		}
	})
	return t, nil
}

// scores returns the gossipsub score parameters: after three invalid messages a peer is ignored for some minutes.
// Message rates are low, so a slow peer does not lose score.
func scores() (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	topic := func() *pubsub.TopicScoreParams {
		return &pubsub.TopicScoreParams{
			SkipAtomicValidation: true, TopicWeight: 1,
			TimeInMeshWeight: 0.01, TimeInMeshQuantum: time.Minute, TimeInMeshCap: 10,
			InvalidMessageDeliveriesWeight: -20, InvalidMessageDeliveriesDecay: 0.97,
		}
	}
	return &pubsub.PeerScoreParams{
			SkipAtomicValidation: true,
			Topics:               map[string]*pubsub.TopicScoreParams{capacityTopic: topic(), jobsTopic: topic()},
			AppSpecificScore:     func(peer.ID) float64 { return 0 },
			// Early GRAFTs and broken IWANT promises.
			BehaviourPenaltyWeight: -5, BehaviourPenaltyThreshold: 6, BehaviourPenaltyDecay: 0.9,
			DecayInterval: 10 * time.Second, DecayToZero: 0.1, RetainScore: 10 * time.Minute,
		}, &pubsub.PeerScoreThresholds{
			GossipThreshold: -20, PublishThreshold: -80, GraylistThreshold: -160,
		}
}

// checkHint validates a message of the capacity topic.
func (g *gossip) checkHint(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	author := m.GetFrom()
	if author == g.p.id {
		return pubsub.ValidationAccept
	}
	if len(m.Data) > job.MaxHint {
		return pubsub.ValidationReject
	}
	h, err := job.DecodeHint(m.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	if !g.p.gater.allows(author, JoinGossip) {
		g.requestLookup(author, h.Capacity, from)
		return pubsub.ValidationIgnore
	}
	now := g.p.cfg.Now()
	if !g.authors.hint(author, now) || !g.p.table.hintOf(author, h, now) {
		return pubsub.ValidationIgnore
	}
	if !g.p.table.has(author, h.Capacity) || g.p.unreachable(author) {
		g.requestLookup(author, h.Capacity, from)
	}
	g.p.notifyChanged()
	return pubsub.ValidationAccept
}

// requestLookup queues a lookup of what is missing about an author, unless the lookups are over their limits.
func (g *gossip) requestLookup(author peer.ID, c cid.Cid, from peer.ID) {
	now := g.p.cfg.Now()
	if !g.authors.mayQuery(from, now) || !g.authors.allowLookup(author, now) {
		return
	}
	select {
	case g.lookups <- lookupRequest{author, c, from}:
	default: // the author's next hint queues it again
	}
}

func (g *gossip) lookupLoop() {
	for {
		select {
		case <-g.p.ctx.Done():
			return
		case l := <-g.lookups:
			g.p.lookup(g.p.ctx, l)
		}
	}
}

// checkJobs validates a message of the jobs topic: an Announce, which is a CBOR list, or an Answer, which is a CBOR
// map.
func (g *gossip) checkJobs(_ context.Context, _ peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	author := m.GetFrom()
	if author == g.p.id {
		return pubsub.ValidationAccept
	}
	if len(m.Data) == 0 || len(m.Data) > job.MaxAnnounce {
		return pubsub.ValidationReject
	}
	if !g.p.gater.allows(author, JoinGossip) {
		return pubsub.ValidationIgnore
	}
	if m.Data[0]>>5 == 5 { // a CBOR map
		return g.checkAnswer(author, m)
	}
	return g.checkAnnounce(author, m)
}

func (g *gossip) checkAnnounce(author peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	now := g.p.cfg.Now()
	if !g.authors.announce(author, m.GetSeqno(), now) {
		return pubsub.ValidationIgnore
	}
	a, err := job.DecodeAnnounce(m.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	if id, err := IDOf(a.Issuer); err != nil || id != author {
		return pubsub.ValidationReject
	}
	if _, err := parseAddrs(a.Addrs); err != nil {
		return pubsub.ValidationReject
	}
	if age := now.Sub(time.UnixMilli(a.Issued)); age > clockSkew || age < -clockSkew {
		return pubsub.ValidationIgnore
	}
	select {
	case g.announces <- receivedAnnounce{job.CIDOf(m.Data), a}:
	default: // the queue is full
	}
	return pubsub.ValidationAccept
}

func (g *gossip) checkAnswer(author peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	now := g.p.cfg.Now()
	if !g.authors.answer(author, m.GetSeqno(), now) {
		return pubsub.ValidationIgnore
	}
	a, err := job.DecodeAnswer(m.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	addrs, err := parseAddrs(a.Addrs)
	if err != nil {
		return pubsub.ValidationReject
	}
	g.mu.Lock()
	found := g.callbacks[a.Announce.KeyString()]
	g.mu.Unlock()
	if found == nil {
		return pubsub.ValidationAccept
	}
	g.p.raw.Peerstore().AddAddrs(author, addrs, addrTTL)
	g.p.table.hintOf(author, a.Hint, now)
	g.requestLookup(author, a.Hint.Capacity, m.ReceivedFrom)
	found(author)
	g.p.notifyChanged()
	return pubsub.ValidationAccept
}
