package market

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// viewer sends a Run to the peer that awarded it. It uses three goroutines: one writes heartbeats, output and the
// end; one receives from the peer; one reads the guest's output.
type viewer struct {
	w      *wire
	run    *Run
	cancel context.CancelCauseFunc
	logs   *logBuffer
}

// closedError is the cause of a ctx that ended because the requester closed.
type closedError struct{ why Why }

func (e closedError) Error() string { return "job stream closed by the requester: " + string(e.why) }

var errNoMessage = errors.New("no message from the requester in time")

// show serves the conversation to its end. Output before the offsets is not sent.
func (r *Run) show(ctx context.Context, w *wire, stdout, stderr uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	v := &viewer{w: w, run: r, cancel: cancel, logs: newLogBuffer(stdout, stderr)}
	r.attach(v)
	stop := context.AfterFunc(ctx, func() { w.s.Reset() }) // ends a write that waits for the peer
	var running sync.WaitGroup
	running.Go(func() { cancel(v.receive(ctx)) })
	running.Go(func() { v.readLogs(ctx) })
	err := v.send(ctx)
	if err == nil {
		err = v.wait(ctx)
	}
	if ctx.Err() == nil { // the error may be the effect of the peer's Close on the stream
		w.s.SetReadDeadline(time.Now().Add(closeGrace))
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

// closeGrace is how long a Close message may still arrive after the stream broke.
const closeGrace = time.Second

// receive receives the requester's messages until it closes or a timeout.
func (v *viewer) receive(ctx context.Context) error {
	for {
		m, err := v.w.readMessage(ctx, v.w.cfg.Silence)
		if errors.Is(err, errNoFrame) {
			return errNoMessage
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
			return v.w.unexpected(m, "while a job is running")
		}
	}
}

// readLogs copies the guest's output into the buffer. A read error does not end the run: the Outcome has the complete
// output.
func (v *viewer) readLogs(ctx context.Context) {
	defer v.logs.end()
	if v.run.cfg.Logs == nil {
		return
	}
	err := v.run.cfg.Logs(ctx, v.logs.writer(ctx, 1), v.logs.writer(ctx, 2))
	if err != nil && ctx.Err() == nil {
		v.w.cfg.Logger.Warn("read guest output for requester", "peer", v.w.peer(), "err", err)
	}
}

// send writes until the end of the run and its blocks are sent.
func (v *viewer) send(ctx context.Context) error {
	heartbeats := time.NewTicker(v.w.cfg.HeartbeatInterval)
	defer heartbeats.Stop()
	phase := ""
	for {
		progress, end, changed := v.run.state()
		if end != nil {
			return v.sendEnd(ctx, end)
		}
		if progress.Phase != phase {
			phase = progress.Phase
			if err := v.w.send(heartbeatFrameOf(progress)); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-v.logs.ready:
			if err := v.flush(ctx, changed); err != nil {
				return err
			}
		case <-heartbeats.C:
			progress, _, _ = v.run.state()
			if err := v.w.send(heartbeatFrameOf(progress)); err != nil {
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

// flush sends the output of Config.Log together.
func (v *viewer) flush(ctx context.Context, changed <-chan struct{}) error {
	wait := time.NewTimer(v.w.cfg.Log)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-v.logs.full:
	case <-changed: // the rest is sent with the change
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

// sendEnd sends the rest of the output and then the end of the run.
func (v *viewer) sendEnd(ctx context.Context, end *ending) error {
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
		// The error is local, and the protocol has no message for it inside a CAR: the CAR is cut off.
		v.w.cfg.Logger.Warn("read result for requester", "peer", v.w.peer(), "err", err)
		return v.w.s.CloseWrite()
	}
	return out.close()
}

// drain sends output until its end, and heartbeats in between.
func (v *viewer) drain(ctx context.Context) error {
	heartbeats := time.NewTicker(v.w.cfg.HeartbeatInterval)
	defer heartbeats.Stop()
	for {
		select {
		case <-v.logs.ready:
		case <-v.logs.ended:
			return v.sendLogs()
		case <-heartbeats.C:
			progress, _, _ := v.run.state()
			if err := v.w.send(heartbeatFrameOf(progress)); err != nil {
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

// wait waits for the requester's Close after everything was sent.
func (v *viewer) wait(ctx context.Context) error {
	t := time.NewTimer(v.w.cfg.Hold)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return errNoMessage
	}
}

// logBuffer holds output between the goroutine that reads it and the one that sends it.
type logBuffer struct {
	skip  [2]uint64 // bytes that the peer already has and that Logs still writes
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

// maxBuffered is the size in bytes at which a logBuffer's writer waits.
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
	ctx    context.Context // of the conversation: io.Writer has no parameter for it
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

// add adds some bytes; wait is not nil when the buffer is full.
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

// end marks the end of the output.
func (b *logBuffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over = true
		close(b.ended)
	}
}

// chunkWriter sends the bytes written to it in chunks.
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

// close sends the rest and the empty chunk that marks the end.
func (c *chunkWriter) close() error {
	if len(c.buf) > 0 {
		if err := c.flush(); err != nil {
			return err
		}
	}
	return c.w.sendChunk(nil)
}
