package api

import (
	"os"
	"path/filepath"
	"strconv"
)

// shorten returns a name of path's folder that is short enough for a socket inside it. The name is
// valid until release is called.
func shorten(path string) (dir string, release func(), err error) {
	dir = filepath.Dir(path)
	if len(path) <= maxSocketPath {
		return dir, func() {}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())), func() { f.Close() }, nil
}
