package segment

import (
	"os"
	"syscall"
)

// identity returns file attributes that, with size and modification time, identify a file and its state: change time,
// inode and device. Programs cannot set the change time.
func identity(info os.FileInfo) (changed int64, inode, device uint64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, 0
	}
	return st.Ctim.Nano(), st.Ino, uint64(st.Dev)
}
