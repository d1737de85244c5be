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

// transcript records how much one run has printed, from its first byte: length and hash of each
// stream. It outlives the conversations about the run.
type transcript struct {
	p    *Printed
	peer job.DID
	own  bool // the run is on this node: its output is trusted

	// Guarded by p.mu.
	printed  [2]printedStream
	over     bool    // no more output is accepted
	verified cid.Cid // the Outcome that matches printed
}

// add appends data that starts at offset off of a stream, 1 or 2. It skips data that it already
// has, and data that would leave a gap.
func (t *transcript) add(stream byte, off uint64, data []byte) error {
	p, i := t.p, int(stream)-1
	p.mu.Lock()
	defer p.mu.Unlock()
	out, s := &t.printed[i], &p.shown[i]
	if t.over || off > out.size || off+uint64(len(data)) <= out.size {
		return nil
	}
	data = data[out.size-off:]
	if p.policy.Own && !t.own {
		out.add(data)
		return nil
	}
	if s.run != nil && s.run != t && out.size < s.size {
		again := data[:min(uint64(len(data)), s.size-out.size)]
		out.add(again)
		data = data[len(again):]
		if out.size == s.size {
			t.continueShown(i)
		}
	}
	if len(data) == 0 {
		return nil
	}
	out.add(data)
	if p.checked {
		return nil
	}
	s.setRun(i, t)
	s.size = out.size
	w := p.writer(i)
	if w == nil {
		return nil
	}
	_, err := w.Write(data)
	return err
}

// continueShown is called when t has printed as much as is shown of another run. If both are equal, t
// continues from there. Otherwise one of them is false, and the Outcome decides which. p.mu is
// held.
func (t *transcript) continueShown(i int) {
	p := t.p
	s := &p.shown[i]
	sum := s.hash(i)
	if bytes.Equal(t.printed[i].sum(), sum) {
		s.setRun(i, t)
		s.sum = nil
		if p.checked {
			s.sum = sum
		}
		return
	}
	p.stopLive()
}

// sizes returns how many bytes the run has printed.
func (t *transcript) sizes() (stdout, stderr uint64) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	return t.printed[0].size, t.printed[1].size
}

// abandon ends the transcript of a run without an Outcome. It reports whether some of its output
// stays shown although no Outcome will verify it: the text of the next run starts again from the
// beginning.
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

// verify compares the transcript with the Outcome of the run. It may be shorter: the rest is in the
// Outcome. A stream that differs is taken back, and from then on output of the job is shown only
// after it was compared. The error means that the files of the Outcome cannot be read.
func (t *transcript) verify(ctx context.Context, r Result, open Open) ([]Mismatch, error) {
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
		out := &t.printed[i]
		head := &prefix{hash: sha256.New(), left: out.size}
		// Read to the end: what cannot be read could not be shown.
		if err := writeStream(ctx, f, head, 0, size); err != nil {
			return nil, err
		}
		if out.size > size || !bytes.Equal(head.hash.Sum(nil), out.sum()) {
			all = append(all, Mismatch{Peer: t.peer, Stream: byte(i + 1), Result: r})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(all) == 0 {
		t.verified = r.Outcome
		return nil, nil
	}
	p.stopLive()
	for k, m := range all {
		if i := int(m.Stream) - 1; p.shown[i].run == t {
			all[k].Shown = true
			p.restart(i, true)
		}
	}
	return all, nil
}

// trust ends the transcript of a run on this node: its output matches its Outcome by construction.
func (t *transcript) trust(outcome cid.Cid) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.over, t.verified = true, outcome
}

// writer returns a writer for one stream of the run, from its first byte.
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

// prefix hashes the first left bytes written to it.
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
