package market

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Limits of a result's CAR beyond the sizes in its Outcome.
const (
	carSlack   = 8 << 20 // bytes: Task, Outcome, Receipt, inner nodes of small outputs
	maxPending = 1 << 21 // known links whose blocks have not arrived yet
)

// Blocks returns the blocks of the result after Done. Each is checked against its CID as it arrives, and against the
// DAG: it must be the Outcome, the Receipt, the Task, or be linked to by an earlier block of the output. Their total
// size is limited by the sizes in the Outcome. The provider does not follow links into the inputs, so the caller must
// check that everything is here. The iterator ends with an error or after the last block; it can be ranged over once.
func (c *Conversation) Blocks(ctx context.Context) iter.Seq2[dag.Block, error] {
	return func(yield func(dag.Block, error) bool) {
		if c.done == nil {
			yield(dag.Block{}, errors.New("market client: Blocks called before Done"))
			return
		}
		stopped := errors.New("stopped by the caller of Blocks")
		in := newIncoming(c)
		reading, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		_, err := dag.ReadCAR(ctx, &chunkReader{ctx: reading, w: c.w, left: in.limit}, func(b dag.Block) error {
			err := in.check(b)
			switch {
			case err != nil:
				err = &ProtocolError{c.w.peer(), err}
			case !yield(b, nil):
				err = stopped
			}
			if err != nil {
				stop(err) // unblocks a read of further chunks
			}
			return err
		})
		if err != nil && err != stopped {
			yield(dag.Block{}, fmt.Errorf("receive result of peer %s: %w", c.w.peer(), err))
		}
	}
}

// incoming is what is still allowed to arrive of a result.
type incoming struct {
	limit    int64 // remaining bytes of the CAR
	noFollow map[cid.Cid]bool
	seed     maphash.Seed
	pending  map[uint64]struct{} // fingerprints of CIDs, with a secret seed
}

func newIncoming(c *Conversation) *incoming {
	o := c.done.Outcome
	in := &incoming{seed: maphash.MakeSeed(), pending: map[uint64]struct{}{}}
	// UnixFS around stdout and stderr, and CAR sections around blocks, add less than a 32nd.
	payload := min(o.Size, 1<<60) + min(o.Log, 1<<60)
	in.limit = int64(payload + payload/32 + carSlack)
	receipt := job.CIDOf(c.done.ReceiptBytes)
	in.noFollow = map[cid.Cid]bool{c.task: true, c.done.Receipt.Outcome: true, receipt: true}
	for _, l := range []cid.Cid{c.task, c.done.Receipt.Outcome, receipt, o.Root, o.Stdout, o.Stderr} {
		if l.Defined() {
			in.pending[in.fingerprint(l)] = struct{}{}
		}
	}
	return in
}

func (in *incoming) fingerprint(c cid.Cid) uint64 { return maphash.String(in.seed, c.KeyString()) }

// check accepts b and records its links. The links of Task, Outcome and Receipt are not recorded: they lead to inputs
// and to other jobs, and newIncoming has recorded the allowed ones.
func (in *incoming) check(b dag.Block) error {
	f := in.fingerprint(b.CID())
	if _, ok := in.pending[f]; !ok {
		return fmt.Errorf("result: block %s does not belong to it, or came twice", b.CID())
	}
	delete(in.pending, f)
	if in.noFollow[b.CID()] {
		return nil
	}
	links, err := dag.Links(b)
	var unknown *dag.UnsupportedError
	if errors.As(err, &unknown) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(in.pending)+len(links) > maxPending {
		return fmt.Errorf("result: more than %d links to blocks that have not arrived", maxPending)
	}
	for _, l := range links {
		in.pending[in.fingerprint(l)] = struct{}{}
	}
	return nil
}

// chunkReader reads the bytes of chunks up to the empty one.
type chunkReader struct {
	ctx     context.Context // of the call that reads: io.Reader has no parameter for it
	w       *wire
	left    int64
	chunk   []byte
	ended   bool
	renewed time.Time // when the last renew was sent to the provider
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// next reads a chunk, and sends a renew when one is due: a result may take longer than the provider's Silence.
func (r *chunkReader) next() error {
	if now := time.Now(); now.Sub(r.renewed) >= r.w.cfg.HeartbeatInterval {
		if err := r.w.send(&renewFrame{}); err != nil {
			return err
		}
		r.renewed = now
	}
	b, err := r.w.read(r.ctx, MaxChunk, r.w.cfg.Frame)
	if errors.Is(err, errNoFrame) {
		return &TimeoutError{r.w.peer(), r.w.cfg.Frame}
	}
	if err != nil {
		return err
	}
	if r.left -= int64(len(b)); r.left < 0 {
		return &ProtocolError{r.w.peer(), errors.New("result: more bytes than the outcome declares")}
	}
	r.chunk, r.ended = b, len(b) == 0
	return nil
}
