package request

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Printed shows what the guest of one job prints, however often the job is placed, and
// proves it: of two runs of one Task the second prints what the first did, so each byte
// is shown once, and in the end all of it is compared with the Outcome.
//
// Invariant: of each stream, what is shown is what one transcript begins with. So one
// running hash of a run is all that is needed to compare both the run and what is shown.
type Printed struct {
	out    Output
	policy Policy

	mu      sync.Mutex // held while a writer is called
	checked bool       // from here on, all is shown by Finish
	begun   int        // how often a stream began again
	shown   [2]shown   // stdout and stderr
}

// Policy says what of a job's runs is shown before there is an Outcome.
type Policy struct {
	Checked bool // nothing
	Own     bool // the run on this node alone
	Nondet  bool // two runs may print different text
}

// shown is what was shown of one stream.
type shown struct {
	size uint64
	run  *transcript // which begins with it; nil: nothing was shown
	sum  []byte      // hash of it, when run has gone on; nil: that of run
	also []part      // what other runs have printed of it
}

// part is what was shown of a stream when a run had printed it.
type part struct {
	run  *transcript
	size uint64
	sum  []byte // hash of it
}

// hash returns the hash of what is shown of stream i.
func (s *shown) hash(i int) []byte {
	if s.sum == nil {
		return s.run.said[i].sum()
	}
	return s.sum
}

// pass lets t go on with stream i: it has printed what is shown, as another run has.
func (s *shown) pass(i int, t *transcript) {
	if s.run != nil && s.run != t {
		s.also = slices.DeleteFunc(s.also, func(p part) bool { return p.run == s.run })
		s.also = append(s.also, part{s.run, s.size, s.hash(i)})
	}
	s.run = t
}

// maxBegun bounds how often the text of a nondeterministic job begins again while it is
// shown live: it is kept for readers that come late, each time.
const maxBegun = 4

// NewPrinted returns a Printed that shows to out.
func NewPrinted(out Output, p Policy) *Printed {
	return &Printed{out: out, policy: p, checked: p.Checked}
}

// run returns the transcript of a run that has printed nothing. own: it is on this node.
func (p *Printed) run(peer job.DID, own bool) *transcript {
	t := &transcript{p: p, peer: peer, own: own}
	for i := range t.said {
		t.said[i].hash = sha256.New()
	}
	return t
}

// check lets Finish show all that comes. p.mu is held.
func (p *Printed) check() {
	for i := range p.shown {
		if s := &p.shown[i]; s.run != nil && s.sum == nil {
			s.sum = s.hash(i)
		}
	}
	p.checked = true
}

// restart forgets what was shown of a stream. p.mu is held.
func (p *Printed) restart(i int, isFalse bool) {
	p.shown[i] = shown{}
	if p.out.Restart != nil {
		p.out.Restart(byte(i+1), isFalse)
	}
	if p.begun++; isFalse || p.begun == maxBegun {
		p.check()
	}
}

// Unproven returns the peers whose text is shown and was not compared with an Outcome.
func (p *Printed) Unproven() (peers []job.DID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.shown {
		if s.run != nil && !s.run.own && !s.run.proven.Defined() && !slices.Contains(peers, s.run.peer) {
			peers = append(peers, s.run.peer)
		}
	}
	return peers
}

// Open opens a file that an Outcome links to.
type Open func(ctx context.Context, c cid.Cid) (*dag.File, error)

// Mismatch says that a peer printed what an Outcome does not say.
type Mismatch struct {
	Peer   job.DID
	Stream byte   // 1 or 2
	Shown  bool   // it was shown
	Result Result // whose Outcome it is: another peer's when Peer has ended without one
}

// Name returns the stream's name.
func (m Mismatch) Name() string {
	if m.Stream == 1 {
		return "stdout"
	}
	return "stderr"
}

// Finish compares all that is shown with what the job came to, and shows the rest of it.
// It returns what was shown and is not so: of a stream of which some is not, all is shown
// again. No run may go on. The error is a writer's, or says that the Outcome's files
// cannot be read.
func (p *Printed) Finish(ctx context.Context, r Result, open Open) ([]Mismatch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check()
	var all []Mismatch
	for i, c := range streams(r.Value) {
		f, size, err := openStream(ctx, c, open)
		if err != nil {
			return all, err
		}
		defer closeStream(f)
		s := &p.shown[i]
		if s.run != nil && s.run.proven != r.Outcome {
			liars, err := s.liars(ctx, f, size)
			if err != nil {
				return all, err
			}
			for _, peer := range liars {
				all = append(all, Mismatch{Peer: peer, Stream: byte(i + 1), Shown: true, Result: r})
			}
			if len(liars) > 0 {
				p.restart(i, true)
			}
		}
		w := p.writer(i)
		if w == nil {
			continue
		}
		if err := writeStream(ctx, f, w, s.size, size); err != nil {
			return all, err
		}
		s.size = size
	}
	return all, nil
}

// liars returns the peers of which some of what is shown, and was hashed, is not what f, of
// that size, begins with. Mostly there are none, which one look at the whole tells.
func (s *shown) liars(ctx context.Context, f *dag.File, size uint64) (peers []job.DID, err error) {
	for _, p := range append([]part{{s.run, s.size, s.sum}}, s.also...) {
		h := sha256.New()
		if err := writeStream(ctx, f, h, 0, min(p.size, size)); err != nil {
			return nil, err
		}
		isTrue := p.size <= size && bytes.Equal(h.Sum(nil), p.sum)
		if isTrue && p.run == s.run {
			return nil, nil
		}
		if !isTrue && !slices.Contains(peers, p.run.peer) {
			peers = append(peers, p.run.peer)
		}
	}
	return peers, nil
}

func (p *Printed) writer(i int) io.Writer {
	if i == 0 {
		return p.out.Stdout
	}
	return p.out.Stderr
}

// streams returns the files of stdout and stderr, undefined where nothing was printed.
func streams(o job.Outcome) [2]cid.Cid { return [2]cid.Cid{o.Stdout, o.Stderr} }

// openStream opens one of them; the file is nil when nothing was printed.
func openStream(ctx context.Context, c cid.Cid, open Open) (*dag.File, uint64, error) {
	if !c.Defined() {
		return nil, 0, nil
	}
	f, err := open(ctx, c)
	if err != nil {
		return nil, 0, fmt.Errorf("open what was printed: %w", err)
	}
	return f, uint64(f.Size()), nil
}

// closeStream waits for what is being read ahead.
func closeStream(f *dag.File) {
	if f != nil {
		f.Close() //nolint:errcheck // it has none
	}
}

// writeStream writes the bytes of f from off to end; of one that is nil there are none.
func writeStream(ctx context.Context, f *dag.File, w io.Writer, off, end uint64) error {
	if f == nil {
		return nil
	}
	if _, err := f.WriteRange(ctx, w, int64(off), int64(end-off)); err != nil {
		return fmt.Errorf("read what was printed: %w", err)
	}
	return nil
}

// said is what a run has printed to one stream.
type said struct {
	size uint64
	hash hash.Hash
}

func (s *said) add(b []byte) {
	s.hash.Write(b)
	s.size += uint64(len(b))
}

func (s *said) sum() []byte { return s.hash.Sum(nil) }
