package wasm

import (
	goruntime "runtime"
	"syscall"
)

// resident is what this process, or the largest of its children, had at most in
// memory, in bytes.
func resident(who int) int64 {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	if goruntime.GOOS == "darwin" {
		return u.Maxrss
	}
	return u.Maxrss << 10
}
