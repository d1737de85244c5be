package wasm

import (
	"bytes"
	"os"
	goruntime "runtime"
	"strconv"
	"syscall"
)

// resident returns the peak resident memory of this process, or of the largest of its children,
// in bytes. Linux counts the parent's memory at the fork into a process's own maximum; the mark
// in /proc is reset when the program starts.
func resident(who int) int64 {
	if who == syscall.RUSAGE_SELF {
		if b, err := os.ReadFile("/proc/self/status"); err == nil {
			if _, rest, ok := bytes.Cut(b, []byte("VmHWM:")); ok {
				if f := bytes.Fields(rest); len(f) > 0 {
					if kib, err := strconv.ParseInt(string(f[0]), 10, 64); err == nil {
						return kib << 10
					}
				}
			}
		}
	}
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	if goruntime.GOOS == "darwin" {
		return u.Maxrss
	}
	return u.Maxrss << 10
}
