// Package smallfile reads and replaces the small files of a repo: keys, and lists that people may read. A file is
// read completely, within a size limit, and replaced completely, durably. The caller owns the repo: the package takes
// no lock.
package smallfile

import (
	"fmt"
	"io"
	"os"
)

// Read returns the content of a file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("read %s: file is too large, want at most %d bytes", path, limit)
	}
	return b, err
}
