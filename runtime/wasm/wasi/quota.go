package wasi

import "github.com/ipfs-liftoff/liftoff/runtime"

// Bounds of what a guest may write that no limit of the Job changes: a guest meets
// the first as an errno, the second ends its run like a limit.
const (
	maxFileSize = 1 << 62   // bytes; eFBIG beyond
	maxTree     = 512 << 20 // bytes of the host's memory for all names, see nodeMemory
)

// nodeMemory is what a file, directory or symlink takes of the host's memory, besides
// its name and a symlink's target. It is a little more than that.
const nodeMemory = 512

// inodeCharge is what a file, directory or symlink counts besides its bytes: about
// what it takes on a disk.
const inodeCharge = 4096

// quota counts what one side, /out or /tmp, takes: logical bytes, holes included,
// and [inodeCharge] for everything that has a name or is still open. It ends the run
// before the limit would be exceeded: a guest never sees a full disk.
type quota struct {
	used, peak, limit uint64
	code              int // job.QuotaOut, job.QuotaTmp
	dev               uint64
	tree              *int // of maxTree, shared by both sides
}

func (q *quota) end() { panic(&runtime.QuotaError{Code: q.code}) }

func (q *quota) charge(n uint64) {
	if n > q.limit || q.used > q.limit-n {
		q.end()
	}
	q.used += n
	q.peak = max(q.peak, q.used)
}

func (q *quota) release(n uint64) { q.used -= n }

// remember counts n bytes of the host's memory; forget gives them back.
func (q *quota) remember(n int) {
	if *q.tree > maxTree-n {
		q.end()
	}
	*q.tree += n
}

func (q *quota) forget(n int) { *q.tree -= n }

// addInode charges for something new that has n bytes of text.
func (q *quota) addInode(n int) {
	q.charge(inodeCharge)
	q.remember(nodeMemory + n)
}

func (q *quota) dropInode(n int) {
	q.release(inodeCharge)
	q.forget(nodeMemory + n)
}
