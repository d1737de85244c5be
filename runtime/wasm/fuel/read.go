package fuel

import (
	"context"
	"fmt"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Step is the most bytes that a host call hashes, copies or writes between two checks of its
// context: each such piece cannot be interrupted.
const Step = 256 << 10

// Steps calls do with pieces of b, at most Step bytes each. Before each it yields and checks
// ctx: it panics with ctx's cause if ctx is done.
func Steps(ctx context.Context, b []byte, do func([]byte)) {
	for len(b) > 0 {
		n := min(len(b), Step)
		do(b[:n])
		if b = b[n:]; len(b) > 0 {
			Yield(ctx)
		}
	}
}

// Yield lets other goroutines run, and panics with ctx's cause if ctx is done.
func Yield(ctx context.Context) {
	YieldIfBusy()
	if ctx.Err() != nil {
		panic(context.Cause(ctx))
	}
}

// ReadAt reads a file like dag.File.ReadAt, and charges for each leaf that the range overlaps
// and for the bytes, before each is read. With paid, the first leaf was paid for when the file
// was opened. At the end of the file the read is short, without an error.
func (a *Account) ReadAt(ctx context.Context, f *dag.File, p []byte, off int64, paid bool) (int, error) {
	n := min(int64(len(p)), f.Size()-off)
	if n <= 0 {
		return 0, nil
	}
	w := &a.reading // a field, not a local: avoids an allocation
	*w = payer{a: a, to: p[:n]}
	defer func() { *w = payer{} }()
	if !paid {
		w.pay()
	}
	_, err := f.WriteRange(ctx, w, off, n)
	return int(n) - len(w.to), err
}

// payer receives a file leaf by leaf and pays for the next leaf before it is read.
type payer struct {
	a  *Account
	to []byte // the rest of the destination
}

func (w *payer) pay() { w.a.Spend(abi.FuelBlock) }

// Write implements io.Writer: it receives the part of the range that is in one leaf.
func (w *payer) Write(leaf []byte) (int, error) {
	if len(leaf) > len(w.to) {
		return 0, fmt.Errorf("bug: %d bytes for a range of %d", len(leaf), len(w.to))
	}
	w.a.Spend(abi.FuelCopy(uint64(len(leaf))))
	n := copy(w.to, leaf)
	if w.to = w.to[n:]; len(w.to) > 0 {
		w.pay()
	}
	return n, nil
}
