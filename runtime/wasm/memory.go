package wasm

import (
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

const pageSize = 1 << 16

// memory is the linear memory of one run, outside of Go's heap: the whole of what it
// may ever become is reserved as addresses at the start, so that growing never moves
// or copies it, and only what the guest touches costs memory.
//
// It is wazero's allocator for the run's instance, which has one memory. wazero calls
// it on the goroutine of the run; it panics with a *runtime.QuotaError where the run
// would exceed its limit, and with another error where the machine is out of memory.
// wazero hands both back from the call into the guest.
type memory struct {
	limit uint64 // bytes; more ends the run
	addr  []byte // the reserved addresses, PROT_NONE past open
	open  uint64 // bytes that can be read and written
	peak  uint64 // bytes

	returning *sync.WaitGroup // of the engine; nil: Free always waits
}

func newMemory(pages uint64) *memory { return &memory{limit: pages * pageSize} }

// Allocate reserves addresses for most bytes, or for the limit if that is less.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	size := int(min(most, m.limit))
	if m.addr != nil {
		panic(fmt.Errorf("a second memory in one run"))
	}
	if size == 0 {
		return m
	}
	addr, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		panic(fmt.Errorf("reserve %d bytes for a guest's memory: %w", size, err))
	}
	m.addr = addr
	return m
}

// Reallocate makes the memory size bytes long. It keeps its address.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.limit {
		panic(&runtime.QuotaError{Code: job.QuotaPages})
	}
	if size > uint64(len(m.addr)) {
		return nil // past the module's own maximum: the guest sees -1
	}
	if size > m.open {
		if err := unix.Mprotect(m.addr[m.open:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			panic(fmt.Errorf("grow a guest's memory to %d bytes: %w", size, err))
		}
		m.open = size
	}
	m.peak = max(m.peak, size)
	return m.addr[:size:size]
}

// freeAtOnce is how large a memory may be that a run gives back before it ends. The
// system takes 60 ms for a GiB that was touched: a run that was cancelled does not wait
// for that. To touch it takes eight times as long, so that such memories do not pile up.
const freeAtOnce = 64 << 20

// Free gives the memory back. wazero calls it when the instance is closed, and the run
// calls it again for an instance that never came to be.
func (m *memory) Free() {
	addr := m.addr
	m.addr = nil
	switch {
	case addr == nil:
	case m.returning == nil || m.open <= freeAtOnce:
		unmap(addr)
	default:
		m.returning.Go(func() { unmap(addr) })
	}
}

func unmap(addr []byte) {
	if err := unix.Munmap(addr); err != nil {
		panic(fmt.Errorf("bug: unmap a guest's memory: %w", err))
	}
}

// pages returns the most pages that the memory ever had.
func (m *memory) pages() uint64 { return m.peak / pageSize }
