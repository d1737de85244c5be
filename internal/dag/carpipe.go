package dag

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
)

// unchecked is a section of a CAR that was not hashed yet.
type unchecked struct {
	at   int64 // offset of the section
	name cid.Cid
	data []byte
	from int64 // offset of data
}

// carBatch is a sequence of sections that are hashed together.
type carBatch struct {
	number int
	list   []unchecked
	bytes  int // size of list
	blocks []Block
	err    error // error of the section after blocks
	at     int64 // offset of that section
}

// Limits at which a batch ends, in bytes and sections.
const (
	maxCARBatch    = 2 << 20
	maxCARSections = 512
)

// carMemory is the size of the reusable memory of a batch: its last section may exceed maxCARBatch.
const carMemory = maxCARBatch + MaxBlock

// carPipe reads a CAR with several goroutines. Each reads a batch, hashes it and passes its blocks on: to put in
// order, or to found or bs as soon as they are ready.
type carPipe struct {
	put   func(Block) error        // exactly one of put,
	found func(Block, int64) error // found and bs is set
	bs    Blocks
	reuse bool          // the bytes of blocks are not retained after they were passed on
	slots chan struct{} // one is taken for each batch in progress

	turn  chan struct{} // held by the goroutine that reads; guards the fields up to end
	c     *carReader
	taken int   // number of batches
	end   error // set when reading ends; io.EOF at the end of the CAR

	failed  atomic.Bool // err is set
	joining sync.Mutex  // guards the fields below
	ready   map[int]*carBatch
	joined  int   // number of batches
	err     error // error of the earliest bad section
	at      int64 // offset of that section
}

// run reads the CAR after its header.
func (p *carPipe) run(ctx context.Context, c *carReader) error {
	workers := min(runtime.GOMAXPROCS(0), maxHashers) + 2 // one may be reading, and one writing
	p.c, p.slots, p.turn, p.ready = c, make(chan struct{}, 2*workers), make(chan struct{}, 1), map[int]*carBatch{}
	p.reuse = p.found != nil || p.bs != nil && copiesOnPut(p.bs)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { p.work(ctx) })
	}
	group.Wait()
	switch {
	case p.err != nil:
		return p.err // of a block before the place where reading ended
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.end != io.EOF:
		return &CARError{c.at, p.end}
	}
	return nil
}

func (p *carPipe) work(ctx context.Context) {
	var memory []byte
	for {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		b := p.take(ctx, memory)
		if b == nil {
			<-p.slots
			return
		}
		b.check()
		if p.put == nil {
			p.putAll(ctx, b)
		} else {
			p.join(ctx, b)
		}
		if p.reuse && memory == nil && b.bytes >= maxCARBatch { // more batches of this size are likely
			memory = make([]byte, carMemory)
		}
	}
}

// take reads the next batch, into memory if it is not nil. It returns nil at the end and after an error.
func (p *carPipe) take(ctx context.Context, memory []byte) *carBatch {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil
	}
	b := &carBatch{number: p.taken}
	for b.bytes < maxCARBatch && len(b.list) < maxCARSections && p.end == nil && ctx.Err() == nil && !p.failed.Load() {
		name, data, rest, err := p.c.section(memory)
		if err != nil {
			p.end = err
			break
		}
		memory = rest
		b.bytes += len(data)
		b.list = append(b.list, unchecked{p.c.at, name, data, p.c.off - int64(len(data))})
	}
	if len(b.list) == 0 {
		return nil
	}
	p.taken++
	return b
}

// check hashes the sections up to the first bad one.
func (b *carBatch) check() {
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
			b.err, b.at = &CARError{u.at, err}, u.at
			return
		}
		b.blocks = append(b.blocks, one)
	}
}

// putAll puts the blocks of b.
func (p *carPipe) putAll(ctx context.Context, b *carBatch) {
	defer func() { <-p.slots }()
	if p.bs != nil {
		if err := p.bs.Put(ctx, b.blocks...); err != nil {
			b.err, b.at = err, b.list[0].at
		}
	} else {
		for i, one := range b.blocks {
			if err := p.found(one, b.list[i].from); err != nil {
				b.err, b.at = err, b.list[i].at
				break
			}
		}
	}
	if b.err == nil {
		return
	}
	p.joining.Lock()
	defer p.joining.Unlock()
	if p.err == nil || b.at < p.at {
		p.err, p.at = b.err, b.at
		p.failed.Store(true)
	}
}

// join passes on the consecutive batches that are ready, until the first error.
func (p *carPipe) join(ctx context.Context, b *carBatch) {
	p.joining.Lock()
	defer p.joining.Unlock()
	p.ready[b.number] = b
	for next := p.ready[p.joined]; next != nil; next = p.ready[p.joined] {
		delete(p.ready, p.joined)
		for _, one := range next.blocks {
			if p.err != nil || ctx.Err() != nil {
				break
			}
			p.err = p.put(one)
		}
		if p.err == nil {
			p.err = next.err
		}
		p.failed.Store(p.err != nil)
		p.joined++
		<-p.slots
	}
}
