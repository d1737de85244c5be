package market

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// viewer shows a Run to the peer that awarded it. Three goroutines: the one that writes
// beats, output and the end; one that hears the peer; one that reads what is printed.
type viewer struct {
	w      *wire
	run    *Run
	cancel context.CancelCauseFunc
	logs   *logBuffer
}

// closedError is the cause of a ctx that the requester's Close ended.
type closedError struct{ why Why }

func (e closedError) Error() string { return "the requester says: " + string(e.why) }

var errUnheard = errors.New("the requester is silent")

// show serves the conversation to its end. Output before the offsets is left out.
func (r *Run) show(ctx context.Context, w *wire, stdout, stderr uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	v := &viewer{w: w, run: r, cancel: cancel, logs: newLogBuffer(stdout, stderr)}
	r.attach(v)
	stop := context.AfterFunc(ctx, func() { w.s.Reset() }) // ends a write that waits for the peer
	var running sync.WaitGroup
	running.Go(func() { cancel(v.hear(ctx)) })
	running.Go(func() { v.read(ctx) })
	err := v.speak(ctx)
	if err == nil {
		err = v.wait(ctx)
	}
	if ctx.Err() == nil { // what broke may be what the peer's Close did to the stream
		w.s.SetReadDeadline(time.Now().Add(lastWords))
	}
	v.logs.end()
	running.Wait()
	stop()
	cancel(nil)
	var closed closedError
	if errors.As(context.Cause(ctx), &closed) {
		r.detach(v, closed.why)
		return nil
	}
	r.detach(v, Gone)
	return err
}

// lastWords is how long a Close may still be behind a stream that broke.
const lastWords = time.Second

// hear reads what the requester says until it closes or falls silent.
func (v *viewer) hear(ctx context.Context) error {
	for {
		m, err := v.w.readMessage(ctx, v.w.cfg.Silence)
		if errors.Is(err, errNoFrame) {
			return errUnheard
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *renewFrame:
			if v.run.cfg.Renewed != nil {
				v.run.cfg.Renewed()
			}
		case *closeFrame:
			return closedError{Why(m.why)}
		default:
			return v.w.unexpected(m, "during a run")
		}
	}
}

// read copies what is printed into the buffer. What cannot be read is no reason to lose
// the run: the Outcome has all of it.
func (v *viewer) read(ctx context.Context) {
	defer v.logs.end()
	if v.run.cfg.Logs == nil {
		return
	}
	err := v.run.cfg.Logs(ctx, v.logs.writer(ctx, 1), v.logs.writer(ctx, 2))
	if err != nil && ctx.Err() == nil {
		v.w.cfg.Logger.Warn("read what a guest printed", "err", err)
	}
}

// speak writes until the end of the run has been told, and its blocks.
func (v *viewer) speak(ctx context.Context) error {
	beats := time.NewTicker(v.w.cfg.HeartbeatInterval)
	defer beats.Stop()
	phase := ""
	for {
		beat, end, changed := v.run.state()
		if end != nil {
			return v.tell(ctx, end)
		}
		if beat.Phase != phase {
			phase = beat.Phase
			if err := v.w.send(heartbeatFrameOf(beat)); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-v.logs.ready:
			if err := v.flush(ctx, changed); err != nil {
				return err
			}
		case <-beats.C:
			beat, _, _ = v.run.state()
			if err := v.w.send(heartbeatFrameOf(beat)); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func heartbeatFrameOf(b Heartbeat) message {
	return &heartbeatFrame{phase: b.Phase, fuel: b.Fuel, done: b.Done, total: b.Total, fetched: b.Fetched}
}

// flush sends the output of some time together.
func (v *viewer) flush(ctx context.Context, changed <-chan struct{}) error {
	wait := time.NewTimer(v.w.cfg.Log)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-v.logs.full:
	case <-changed: // nothing waits for output that ends
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return v.sendLogs()
}

func (v *viewer) sendLogs() error {
	for _, l := range v.logs.take() {
		if err := v.w.send(l); err != nil {
			return err
		}
	}
	return nil
}

// tell says how the run ended, after the rest of its output.
func (v *viewer) tell(ctx context.Context, end *ending) error {
	if err := v.drain(ctx); err != nil {
		return err
	}
	if end.failed != nil {
		return v.w.send(end.failed)
	}
	if err := v.w.send(end.done); err != nil {
		return err
	}
	out := &chunkWriter{w: v.w}
	if err := end.car(ctx, out); err != nil {
		if out.err != nil {
			return err
		}
		// It is our own fault, and there is no word for it amid a CAR: it ends too soon.
		v.w.cfg.Logger.Warn("send a result", "peer", v.w.peer(), "err", err)
		return v.w.s.CloseWrite()
	}
	return out.close()
}

// drain sends what was printed, to its end. Signs of life go on.
func (v *viewer) drain(ctx context.Context) error {
	beats := time.NewTicker(v.w.cfg.HeartbeatInterval)
	defer beats.Stop()
	for {
		select {
		case <-v.logs.ready:
		case <-v.logs.ended:
			return v.sendLogs()
		case <-beats.C:
			beat, _, _ := v.run.state()
			if err := v.w.send(heartbeatFrameOf(beat)); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := v.sendLogs(); err != nil {
			return err
		}
	}
}

// wait is for the requester's Close, once all is said.
func (v *viewer) wait(ctx context.Context) error {
	t := time.NewTimer(v.w.cfg.Hold)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return errUnheard
	}
}

// logBuffer holds output between the goroutine that reads it and the one that sends it.
type logBuffer struct {
	skip  [2]uint64 // bytes that the peer has and that are still to come
	ready chan struct{}
	full  chan struct{}
	ended chan struct{} // closed after the last byte

	mu     sync.Mutex
	at     [2]uint64
	frames []*logFrame
	size   int
	over   bool
	room   chan struct{} // closed, and replaced, by take
}

// maxBuffered is what a logBuffer takes before its writer waits, in bytes.
const maxBuffered = 256 << 10

func newLogBuffer(stdout, stderr uint64) *logBuffer {
	return &logBuffer{
		skip: [2]uint64{stdout, stderr}, at: [2]uint64{stdout, stderr},
		ready: make(chan struct{}, 1), full: make(chan struct{}, 1),
		ended: make(chan struct{}), room: make(chan struct{}),
	}
}

func (b *logBuffer) writer(ctx context.Context, stream uint64) io.Writer {
	return &logWriter{ctx, b, stream}
}

// logWriter writes to one stream of a buffer, waiting for room.
type logWriter struct {
	ctx    context.Context // of the conversation: io.Writer has no place for it
	b      *logBuffer
	stream uint64
}

func (w *logWriter) Write(p []byte) (int, error) {
	total := len(p)
	skip := &w.b.skip[w.stream-1]
	left := min(*skip, uint64(len(p)))
	*skip -= left
	p = p[left:]
	for len(p) > 0 {
		n, wait := w.b.add(w.stream, p)
		p = p[n:]
		if wait == nil {
			continue
		}
		select {
		case <-wait:
		case <-w.ctx.Done():
			return total - len(p), context.Cause(w.ctx)
		}
	}
	return total, nil
}

// add takes some bytes; wait is not nil when there is no room.
func (b *logBuffer) add(stream uint64, p []byte) (n int, wait <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size >= maxBuffered {
		return 0, b.room
	}
	var last *logFrame
	if k := len(b.frames); k > 0 {
		last = b.frames[k-1]
	}
	if last == nil || last.stream != stream || len(last.data) == MaxLog {
		last = &logFrame{stream: stream, off: b.at[stream-1]}
		b.frames = append(b.frames, last)
	}
	n = min(len(p), MaxLog-len(last.data))
	last.data = append(last.data, p[:n]...)
	b.at[stream-1] += uint64(n)
	b.size += n
	signal(b.ready)
	if b.size >= MaxLog {
		signal(b.full)
	}
	return n, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take empties the buffer.
func (b *logBuffer) take() []*logFrame {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.frames
	b.frames, b.size = nil, 0
	close(b.room)
	b.room = make(chan struct{})
	select {
	case <-b.full:
	default:
	}
	return f
}

// end says that no more output comes.
func (b *logBuffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over = true
		close(b.ended)
	}
}

// chunkWriter sends what is written to it in chunks.
type chunkWriter struct {
	w   *wire
	buf []byte
	err error // of the stream
}

func (c *chunkWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), carChunk-len(c.buf))
		c.buf = append(c.buf, p[:n]...)
		p = p[n:]
		if len(c.buf) == carChunk {
			if err := c.flush(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

func (c *chunkWriter) flush() error {
	c.err = c.w.sendChunk(c.buf)
	c.buf = c.buf[:0]
	return c.err
}

// close sends the rest and the mark of the end.
func (c *chunkWriter) close() error {
	if len(c.buf) > 0 {
		if err := c.flush(); err != nil {
			return err
		}
	}
	return c.w.sendChunk(nil)
}
