package wasi

import "github.com/ipfs-liftoff/liftoff/runtime"

// Limits on a guest's writes that do not depend on the run's limits: the first is an errno, the
// second ends the run like a limit.
const (
	maxFileSize = 1 << 62   // bytes; more is eFBIG
	maxTree     = 512 << 20 // bytes of the host's memory for all names, see nodeMemory
)

// nodeMemory is the host's memory for a file, directory or symlink, in addition to its name and
// a symlink's target. It is slightly more than the real size.
const nodeMemory = 512

// inodeCharge is what a file, directory or symlink is charged in addition to its bytes: about
// its overhead on a disk.
const inodeCharge = 4096

// quota counts the use of one side, /out or /tmp: logical bytes, holes included, and
// [inodeCharge] for every file, directory and symlink that has a name or is still open. It ends
// the run before the limit would be exceeded: a guest never sees a full disk.
type quota struct {
	used, peak, limit uint64
	code              int // job.QuotaOut, job.QuotaTmp
	dev               uint64
	tree              *int // counts towards maxTree, shared by both sides
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

// remember charges n bytes of the host's memory; forget releases them.
func (q *quota) remember(n int) {
	if *q.tree > maxTree-n {
		q.end()
	}
	*q.tree += n
}

func (q *quota) forget(n int) { *q.tree -= n }

// addInode charges for a new node with n bytes of text.
func (q *quota) addInode(n int) {
	q.charge(inodeCharge)
	q.remember(nodeMemory + n)
}

func (q *quota) dropInode(n int) {
	q.release(inodeCharge)
	q.forget(nodeMemory + n)
}
