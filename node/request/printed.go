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

// Printed shows the output of one job's guest, and verifies it, however often the job is placed.
// The second run of a Task prints what the first one did. So each byte is shown once, and in the
// end all of it is compared with the Outcome.
//
// Invariant: the shown part of each stream is a prefix of one transcript. So one running hash for
// each run is enough to compare both the run and the shown output.
type Printed struct {
	out    Output
	policy Policy

	mu       sync.Mutex // also held while a writer is called
	checked  bool       // from now on only Finish shows output
	restarts int        // how often a stream was restarted
	shown    [2]shown   // stdout and stderr
}

// Policy controls which output is shown before there is an Outcome.
type Policy struct {
	Checked bool // show nothing
	Own     bool // show only the run on this node
	Nondet  bool // two runs may print different output
}

// shown is the part of one stream that was shown.
type shown struct {
	size uint64
	run  *transcript // the transcript that starts with it; nil: nothing was shown
	sum  []byte      // its hash, if run has printed more since; nil: the hash of run
	also []part      // parts of it that other runs have printed
}

// part is the shown part of a stream at the moment when run had printed it.
type part struct {
	run  *transcript
	size uint64
	sum  []byte // hash of it
}

// hash returns the hash of the shown part of stream i.
func (s *shown) hash(i int) []byte {
	if s.sum == nil {
		return s.run.printed[i].sum()
	}
	return s.sum
}

// setRun makes t the run that continues stream i: it has printed the shown part, like the run before.
func (s *shown) setRun(i int, t *transcript) {
	if s.run != nil && s.run != t {
		s.also = slices.DeleteFunc(s.also, func(p part) bool { return p.run == s.run })
		s.also = append(s.also, part{s.run, s.size, s.hash(i)})
	}
	s.run = t
}

// maxRestarts limits how often the live output of a nondeterministic job is restarted. Each restart is
// kept for late readers.
const maxRestarts = 4

// NewPrinted returns a Printed that writes to out.
func NewPrinted(out Output, p Policy) *Printed {
	return &Printed{out: out, policy: p, checked: p.Checked}
}

// run returns the transcript of a new run. own: the run is on this node.
func (p *Printed) run(peer job.DID, own bool) *transcript {
	t := &transcript{p: p, peer: peer, own: own}
	for i := range t.printed {
		t.printed[i].hash = sha256.New()
	}
	return t
}

// stopLive stops the live output: Finish shows the rest. p.mu is held.
func (p *Printed) stopLive() {
	for i := range p.shown {
		if s := &p.shown[i]; s.run != nil && s.sum == nil {
			s.sum = s.hash(i)
		}
	}
	p.checked = true
}

// restart discards the shown part of a stream. p.mu is held.
func (p *Printed) restart(i int, isFalse bool) {
	p.shown[i] = shown{}
	if p.out.Restart != nil {
		p.out.Restart(byte(i+1), isFalse)
	}
	if p.restarts++; isFalse || p.restarts == maxRestarts {
		p.stopLive()
	}
}

// Unverified returns the peers whose output is shown and was not compared with an Outcome.
func (p *Printed) Unverified() (peers []job.DID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.shown {
		if s.run != nil && !s.run.own && !s.run.verified.Defined() && !slices.Contains(peers, s.run.peer) {
			peers = append(peers, s.run.peer)
		}
	}
	return peers
}

// Open opens a file that an Outcome links to.
type Open func(ctx context.Context, c cid.Cid) (*dag.File, error)

// Mismatch records that the output which a peer printed differs from an Outcome.
type Mismatch struct {
	Peer   job.DID
	Stream byte   // 1 or 2
	Shown  bool   // the output was shown
	Result Result // the result with that Outcome: of another peer when Peer was lost before it had one
}

// Name returns the name of the stream.
func (m Mismatch) Name() string {
	if m.Stream == 1 {
		return "stdout"
	}
	return "stderr"
}

// Finish compares the shown output with the Outcome of the job, and shows the rest of it. It
// returns the mismatches. A stream with a mismatch is shown again from its start. No run may be in
// progress. The error is that of a writer, or means that the files of the Outcome cannot be read.
func (p *Printed) Finish(ctx context.Context, r Result, open Open) ([]Mismatch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopLive()
	var all []Mismatch
	for i, c := range streams(r.Value) {
		f, size, err := openStream(ctx, c, open)
		if err != nil {
			return all, err
		}
		defer closeStream(f)
		s := &p.shown[i]
		if s.run != nil && s.run.verified != r.Outcome {
			peers, err := s.mismatched(ctx, f, size)
			if err != nil {
				return all, err
			}
			for _, peer := range peers {
				all = append(all, Mismatch{Peer: peer, Stream: byte(i + 1), Shown: true, Result: r})
			}
			if len(peers) > 0 {
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

// mismatched returns the peers with a shown and hashed part that is not a prefix of f, which has
// size bytes. Usually there are none, which one hash of the whole shows.
func (s *shown) mismatched(ctx context.Context, f *dag.File, size uint64) (peers []job.DID, err error) {
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

// streams returns the CIDs of stdout and stderr, undefined where nothing was printed.
func streams(o job.Outcome) [2]cid.Cid { return [2]cid.Cid{o.Stdout, o.Stderr} }

// openStream opens one stream. The file is nil when nothing was printed.
func openStream(ctx context.Context, c cid.Cid, open Open) (*dag.File, uint64, error) {
	if !c.Defined() {
		return nil, 0, nil
	}
	f, err := open(ctx, c)
	if err != nil {
		return nil, 0, fmt.Errorf("open stdout or stderr of the job: %w", err)
	}
	return f, uint64(f.Size()), nil
}

// closeStream waits for the read-ahead of f.
func closeStream(f *dag.File) {
	if f != nil {
		f.Close() //nolint:errcheck // always nil
	}
}

// writeStream writes the bytes of f from off to end. A nil f is empty.
func writeStream(ctx context.Context, f *dag.File, w io.Writer, off, end uint64) error {
	if f == nil {
		return nil
	}
	if _, err := f.WriteRange(ctx, w, int64(off), int64(end-off)); err != nil {
		return fmt.Errorf("read stdout or stderr of the job: %w", err)
	}
	return nil
}

// printedStream is the output of a run on one stream.
type printedStream struct {
	size uint64
	hash hash.Hash
}

func (s *printedStream) add(b []byte) {
	s.hash.Write(b)
	s.size += uint64(len(b))
}

func (s *printedStream) sum() []byte { return s.hash.Sum(nil) }
