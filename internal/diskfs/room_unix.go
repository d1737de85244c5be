//go:build unix

package diskfs

import "golang.org/x/sys/unix"

// Share returns one part in so many of the file system that dir is on, and no more than most: what a reserve may take
// of a small one.
func Share(dir string, parts, most int64) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return most
	}
	page := int64(st.Bsize)
	return max(page, min(most, int64(st.Blocks)*page/parts/page*page))
}
