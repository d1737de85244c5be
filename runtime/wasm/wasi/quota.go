package wasi

import "github.com/ipfs-liftoff/liftoff/runtime"

// Bounds of what a guest may write that no limit of the Job changes: a guest meets
// the first as an errno, the second ends its run like a limit.
const (
	maxFileSize = 1 << 62 // bytes; eFBIG beyond
	maxInodes   = 1 << 20 // files, directories and symlinks alive at once
)

// inodeCharge is what a file, directory or symlink costs besides its bytes. It is
// more than the host's memory for it, so that a limit bounds that memory too.
const inodeCharge = 4096

// quota counts what one side, /out or /tmp, takes: logical bytes, holes included,
// and [inodeCharge] for everything that has a name or is still open. It ends the run
// before the limit would be exceeded: a guest never sees a full disk.
type quota struct {
	used, peak, limit uint64
	code              int // job.QuotaOut, job.QuotaTmp
	dev               uint64
	inodes            *int // shared by both sides
}

func (q *quota) charge(n uint64) {
	if n > q.limit || q.used > q.limit-n {
		panic(&runtime.QuotaError{Code: q.code})
	}
	q.used += n
	q.peak = max(q.peak, q.used)
}

func (q *quota) release(n uint64) { q.used -= n }

// addInode charges for something new.
func (q *quota) addInode() {
	if *q.inodes >= maxInodes {
		panic(&runtime.QuotaError{Code: q.code})
	}
	q.charge(inodeCharge)
	*q.inodes++
}

func (q *quota) dropInode() {
	q.release(inodeCharge)
	*q.inodes--
}
