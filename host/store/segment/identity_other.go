//go:build !linux && !darwin

package segment

import "os"

// identity is not known: size and time of modification have to do.
func identity(os.FileInfo) (changed int64, inode, device uint64) { return 0, 0, 0 }
