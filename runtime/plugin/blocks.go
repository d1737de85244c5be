package plugin

import (
	"os"
	"syscall"
)

// blocks returns the disk space of a file, in bytes.
func blocks(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return 0
}
