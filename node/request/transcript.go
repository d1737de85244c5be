package request

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// transcript is what one run has printed, from its first byte, as far as it came: its
// length and its hash. It outlives the conversations about the run.
type transcript struct {
	p    *Printed
	peer job.DID
	own  bool // the run is on this node: its word is not doubted

	// Below p.mu.
	said   [2]said
	over   bool    // nothing more of it is taken
	proven cid.Cid // the Outcome that said agrees with
}

// add takes data, which begins off bytes into a stream, 1 or 2. What came before is left
// out, and so is what would leave a gap.
func (t *transcript) add(stream byte, off uint64, data []byte) error {
	p, i := t.p, int(stream)-1
	p.mu.Lock()
	defer p.mu.Unlock()
	said, s := &t.said[i], &p.shown[i]
	if t.over || off > said.size || off+uint64(len(data)) <= said.size {
		return nil
	}
	data = data[said.size-off:]
	if p.policy.Own && !t.own {
		said.add(data)
		return nil
	}
	if s.run != nil && s.run != t && said.size < s.size {
		again := data[:min(uint64(len(data)), s.size-said.size)]
		said.add(again)
		data = data[len(again):]
		if said.size == s.size {
			t.follow(i)
		}
	}
	if len(data) == 0 {
		return nil
	}
	said.add(data)
	if p.checked {
		return nil
	}
	s.pass(i, t)
	s.size = said.size
	w := p.writer(i)
	if w == nil {
		return nil
	}
	_, err := w.Write(data)
	return err
}

// follow is called when t has printed as much as is shown, of another run. If it is the
// same, t goes on from there; else one of them lies, and the Outcome tells which. p.mu is
// held.
func (t *transcript) follow(i int) {
	p := t.p
	s := &p.shown[i]
	sum := s.hash(i)
	if bytes.Equal(t.said[i].sum(), sum) {
		s.pass(i, t)
		s.sum = nil
		if p.checked {
			s.sum = sum
		}
		return
	}
	p.check()
}

// sizes returns how much the run has printed.
func (t *transcript) sizes() (stdout, stderr uint64) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	return t.said[0].size, t.said[1].size
}

// abandon ends the transcript of a run that has no Outcome. It reports whether something
// of it stays shown that no Outcome will speak for: the next run's text begins again.
func (t *transcript) abandon() (unproven bool) {
	p := t.p
	p.mu.Lock()
	defer p.mu.Unlock()
	t.over = true
	for i, s := range p.shown {
		if p.policy.Nondet && s.run == t {
			p.restart(i, false)
			unproven = true
		}
	}
	return unproven
}

// prove compares the transcript with what the run came to. It may be shorter: the rest is
// in the Outcome. What differs is not shown any more, and from then on nothing of the job
// is before it was compared. The error says that the Outcome's files cannot be read.
func (t *transcript) prove(ctx context.Context, r Result, open Open) ([]Mismatch, error) {
	p := t.p
	p.mu.Lock()
	t.over = true
	p.mu.Unlock()
	var all []Mismatch
	for i, c := range streams(r.Value) {
		f, size, err := openStream(ctx, c, open)
		if err != nil {
			return nil, err
		}
		defer closeStream(f)
		said := &t.said[i]
		head := &prefix{hash: sha256.New(), left: said.size}
		// To its end: what cannot be read could not be shown.
		if err := writeStream(ctx, f, head, 0, size); err != nil {
			return nil, err
		}
		if said.size > size || !bytes.Equal(head.hash.Sum(nil), said.sum()) {
			all = append(all, Mismatch{Peer: t.peer, Stream: byte(i + 1), Result: r})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(all) == 0 {
		t.proven = r.Outcome
		return nil, nil
	}
	p.check()
	for k, m := range all {
		if i := int(m.Stream) - 1; p.shown[i].run == t {
			all[k].Shown = true
			p.restart(i, true)
		}
	}
	return all, nil
}

// vouch ends the transcript of a run on this node: it has printed what its Outcome says.
func (t *transcript) vouch(outcome cid.Cid) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.over, t.proven = true, outcome
}

// writer returns one stream of the run, from its beginning.
func (t *transcript) writer(stream byte) io.Writer { return &streamWriter{t: t, stream: stream} }

type streamWriter struct {
	t      *transcript
	stream byte
	off    uint64
}

func (w *streamWriter) Write(b []byte) (int, error) {
	if err := w.t.add(w.stream, w.off, b); err != nil {
		return 0, err
	}
	w.off += uint64(len(b))
	return len(b), nil
}

// prefix hashes the first left bytes that are written to it.
type prefix struct {
	hash hash.Hash
	left uint64
}

func (p *prefix) Write(b []byte) (int, error) {
	head := b[:min(uint64(len(b)), p.left)]
	p.hash.Write(head)
	p.left -= uint64(len(head))
	return len(b), nil
}
