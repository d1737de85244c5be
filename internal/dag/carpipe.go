package dag

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
)

// unchecked is a section of a CAR.
type unchecked struct {
	at   int64 // of the section
	name cid.Cid
	data []byte
	from int64 // where data begins
}

// carBatch is sections that are hashed together.
type carBatch struct {
	list   []unchecked
	bytes  int
	blocks []Block
	err    error
	done   chan struct{} // closed when blocks, up to err, are set
}

// A batch ends with so many bytes or sections.
const (
	maxCARBatch    = 2 << 20
	maxCARSections = 512
)

// carPipe hashes batches on all cores and puts them in order.
type carPipe struct {
	ctx   context.Context // of the one call that it belongs to
	put   func(Block, int64) error
	next  *carBatch
	work  chan *carBatch
	order chan *carBatch // bounds the batches in memory
	group sync.WaitGroup
	err   atomic.Pointer[error]
}

func newCARPipe(ctx context.Context, put func(Block, int64) error) *carPipe {
	workers := min(runtime.GOMAXPROCS(0), maxHashers)
	p := &carPipe{
		ctx: ctx, put: put, next: &carBatch{done: make(chan struct{})},
		work: make(chan *carBatch), order: make(chan *carBatch, 2*workers),
	}
	for range workers {
		p.group.Go(func() {
			for b := range p.work {
				b.check()
			}
		})
	}
	p.group.Go(p.collect)
	return p
}

// check hashes the sections up to the first that is wrong.
func (b *carBatch) check() {
	defer close(b.done)
	b.blocks = make([]Block, 0, len(b.list))
	for i := 0; i < len(b.list); i++ {
		u := b.list[i]
		if i+1 < len(b.list) {
			next := b.list[i+1]
			if x, y, ok := checkPair(u.name, next.name, u.data, next.data); ok {
				b.blocks = append(b.blocks, x, y)
				i++
				continue
			}
		}
		one, err := CheckBlock(u.name, u.data)
		if err != nil {
			b.err = &CARError{u.at, err}
			return
		}
		b.blocks = append(b.blocks, one)
	}
}

// add takes over a section.
func (p *carPipe) add(u unchecked) {
	p.next.list = append(p.next.list, u)
	p.next.bytes += len(u.data)
	if p.next.bytes >= maxCARBatch || len(p.next.list) >= maxCARSections {
		p.send()
	}
}

func (p *carPipe) send() {
	b := p.next
	p.next = &carBatch{done: make(chan struct{})}
	p.order <- b // collect takes whatever comes, after an error too
	p.work <- b
}

// collect puts the blocks, until something is wrong.
func (p *carPipe) collect() {
	for b := range p.order {
		<-b.done
		for i, one := range b.blocks {
			if p.failed() != nil {
				break
			}
			if err := p.put(one, b.list[i].from); err != nil {
				p.err.CompareAndSwap(nil, &err)
			}
		}
		if b.err != nil {
			p.err.CompareAndSwap(nil, &b.err)
		}
	}
}

// failed returns what is wrong so far.
func (p *carPipe) failed() error {
	if err := p.err.Load(); err != nil {
		return *err
	}
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return nil
}

// finish waits for what is under way.
func (p *carPipe) finish() error {
	if len(p.next.list) > 0 {
		p.send()
	}
	close(p.work)
	close(p.order)
	p.group.Wait()
	return p.failed()
}
