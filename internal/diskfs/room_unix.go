//go:build unix

package diskfs

import "golang.org/x/sys/unix"

// Share returns a fraction 1/parts of the size of dir's file system, but at most most: the size of a reserve.
func Share(dir string, parts, most int64) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return most
	}
	page := int64(st.Bsize)
	return max(page, min(most, int64(st.Blocks)*page/parts/page*page))
}

// Scarce reports whether less than a sixteenth of dir's file system is free.
func Scarce(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && uint64(st.Bavail) < uint64(st.Blocks)/16
}
