package segment

import (
	"os"
	"syscall"
)

// identity returns what tells a file from others and one state of it from another, beside size and time of
// modification: no program can set the time of change.
func identity(info os.FileInfo) (changed int64, inode, device uint64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, 0
	}
	return st.Ctimespec.Nano(), st.Ino, uint64(st.Dev)
}
