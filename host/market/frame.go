package market

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-varint"
	"google.golang.org/protobuf/encoding/protowire"
)

// wire is a stream of frames: a varint length and as many bytes. One goroutine reads; any goroutine may write.
type wire struct {
	cfg Config
	s   network.Stream
	r   *bufio.Reader

	mu sync.Mutex // held while a frame is written
}

func newWire(s network.Stream, cfg Config) *wire {
	return &wire{cfg: cfg, s: s, r: bufio.NewReaderSize(s, 64<<10)}
}

func (w *wire) peer() peer.ID { return w.s.Conn().RemotePeer() }

// logLease adds the lease of the job to what is logged about the stream.
func (w *wire) logLease(lease Lease) {
	w.cfg.Logger = w.cfg.Logger.With("lease", fmt.Sprintf("%x", lease[:]))
}

// errNoFrame reports that no frame began within the wait.
var errNoFrame = errors.New("no market frame in time")

// read returns the next frame, of at most limit bytes. It waits idle for the first byte, and Config.Frame from there
// to the last byte, whatever the frame's size: a peer cannot extend that by sending a byte now and then. When ctx
// ends its cause is returned, and the wire cannot be read any more.
func (w *wire) read(ctx context.Context, limit int, idle time.Duration) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { w.s.SetReadDeadline(time.Unix(1, 0)) })
	b, err := w.readFrame(ctx, limit, idle)
	if !stop() && err == nil || err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return b, err
}

func (w *wire) readFrame(ctx context.Context, limit int, idle time.Duration) ([]byte, error) {
	if err := w.deadline(ctx, idle); err != nil {
		return nil, err
	}
	if _, err := w.r.Peek(1); err != nil {
		if isTimeout(err) {
			return nil, errNoFrame
		}
		return nil, fmt.Errorf("read market frame: %w", err)
	}
	if err := w.deadline(ctx, w.cfg.Frame); err != nil {
		return nil, err
	}
	n, err := varint.ReadUvarint(w.r)
	if err != nil {
		return nil, fmt.Errorf("read market frame: %w", noEOF(err))
	}
	if n > uint64(limit) {
		return nil, &ProtocolError{w.peer(), fmt.Errorf("market frame: got %d bytes, want at most %d", n, limit)}
	}
	b := make([]byte, n)
	if k, err := io.ReadFull(w.r, b); err != nil {
		return nil, fmt.Errorf("read market frame: %d of %d bytes: %w", k, n, noEOF(err))
	}
	return b, nil
}

func (w *wire) deadline(ctx context.Context, d time.Duration) error {
	if err := w.s.SetReadDeadline(time.Now().Add(d)); err != nil {
		return fmt.Errorf("read market frame: %w", err)
	}
	if ctx.Err() != nil { // its AfterFunc may have run before
		return context.Cause(ctx)
	}
	return nil
}

// readMessage returns the next control frame.
func (w *wire) readMessage(ctx context.Context, idle time.Duration) (message, error) {
	b, err := w.read(ctx, MaxControl, idle)
	if err != nil {
		return nil, err
	}
	m, err := decode(b)
	if err != nil {
		return nil, &ProtocolError{w.peer(), err}
	}
	return m, nil
}

// unexpected returns the error for a message out of order.
func (w *wire) unexpected(m message, where string) error {
	return &ProtocolError{w.peer(), fmt.Errorf("sent unexpected message %q %s", m.name(), where)}
}

// send writes control frames.
func (w *wire) send(ms ...message) error {
	var frames []byte
	for _, m := range ms {
		b, err := encode(m)
		if err != nil {
			return err
		}
		frames = append(protowire.AppendVarint(frames, uint64(len(b))), b...)
	}
	return w.write(frames)
}

// sendChunk writes a frame of raw bytes; an empty one ends a sequence of chunks.
func (w *wire) sendChunk(b []byte) error {
	frame := make([]byte, 0, len(b)+protowire.SizeVarint(uint64(len(b))))
	return w.write(append(protowire.AppendVarint(frame, uint64(len(b))), b...))
}

func (w *wire) write(frames []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.s.SetWriteDeadline(time.Now().Add(w.cfg.Frame)); err != nil {
		return fmt.Errorf("write market frame: %w", err)
	}
	if _, err := w.s.Write(frames); err != nil {
		return fmt.Errorf("write market frame: %w", err)
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
