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

// memory is the linear memory of one run, outside of Go's heap. Its maximum is reserved as
// address space at the start, so that growing never moves or copies it, and only what the guest
// touches uses memory.
//
// It is wazero's allocator for the run's instance, which has one memory. wazero calls it on the
// goroutine of the run; it panics with a *runtime.QuotaError if the run would exceed its limit,
// and with another error if the machine is out of memory. wazero returns both from the call
// into the guest.
type memory struct {
	limit uint64 // bytes; exceeding it ends the run
	addr  []byte // reserved address space, PROT_NONE beyond open
	open  uint64 // bytes that can be read and written
	peak  uint64 // bytes

	returning *sync.WaitGroup // owned by the engine; nil: Free always waits
}

func newMemory(pages uint64) *memory { return &memory{limit: pages * pageSize} }

// Allocate reserves address space for most bytes, or for the limit if that is less.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	size := int(min(most, m.limit))
	if m.addr != nil {
		panic(fmt.Errorf("bug: second memory in one run"))
	}
	if size == 0 {
		return m
	}
	addr, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		panic(fmt.Errorf("reserve %d bytes of guest memory: %w", size, err))
	}
	m.addr = addr
	return m
}

// Reallocate sets the size of the memory to size bytes. Its address does not change.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.limit {
		panic(&runtime.QuotaError{Code: job.QuotaPages})
	}
	if size > uint64(len(m.addr)) {
		return nil // beyond the module's own maximum: the guest gets -1
	}
	if size > m.open {
		if err := unix.Mprotect(m.addr[m.open:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			panic(fmt.Errorf("grow guest memory to %d bytes: %w", size, err))
		}
		m.open = size
	}
	m.peak = max(m.peak, size)
	return m.addr[:size:size]
}

// freeAtOnce is the largest memory that a run frees before it ends. The system takes 60 ms to
// free a touched GiB: a cancelled run does not wait for that. Touching it takes eight times as
// long, so such memories do not pile up.
const freeAtOnce = 64 << 20

// Free frees the memory. wazero calls it when the instance is closed, and the run calls it
// again in case the instance was never created.
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
		panic(fmt.Errorf("bug: unmap guest memory: %w", err))
	}
}

// pages returns the peak size of the memory, in pages.
func (m *memory) pages() uint64 { return m.peak / pageSize }
