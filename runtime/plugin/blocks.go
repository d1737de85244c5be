package plugin

import (
	"os"
	"syscall"
)

// blocks is what a file takes on disk, in bytes.
func blocks(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return 0
}
