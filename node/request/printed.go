package request

import (
	"io"
	"sync"
)

// Printed lets each byte of a guest's output through once, whoever brings it: of two
// runs of one Task the second prints what the first did, so that what it has printed
// already is left out. A job has one, however often it is placed.
type Printed struct {
	out Output

	mu sync.Mutex // held while a writer is called
	at [2]uint64  // bytes of stdout and stderr that were let through
}

// NewPrinted returns a Printed that lets through to out.
func NewPrinted(out Output) *Printed { return &Printed{out: out} }

// add takes data, which begins off bytes into a stream, 1 or 2. A gap is not shown.
func (p *Printed) add(stream byte, off uint64, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := &p.at[stream-1]
	if off > *at || off+uint64(len(data)) <= *at {
		return nil
	}
	data = data[*at-off:]
	w := p.out.Stdout
	if stream == 2 {
		w = p.out.Stderr
	}
	*at += uint64(len(data))
	if w == nil {
		return nil
	}
	_, err := w.Write(data)
	return err
}

// sizes returns how much was let through.
func (p *Printed) sizes() (stdout, stderr uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at[0], p.at[1]
}

// from returns an Output for a run that begins anew.
func (p *Printed) from() Output {
	return Output{
		Stdout: &stream{p: p, id: 1}, Stderr: &stream{p: p, id: 2}, Progress: p.out.Progress,
	}
}

// stream is one stream of a run from its beginning.
type stream struct {
	p   *Printed
	id  byte
	off uint64
}

var _ io.Writer = (*stream)(nil)

func (s *stream) Write(b []byte) (int, error) {
	if err := s.p.add(s.id, s.off, b); err != nil {
		return 0, err
	}
	s.off += uint64(len(b))
	return len(b), nil
}
