// Package smallfile reads and replaces the small files of a repo: keys, and lists that
// a person may look at. They are read whole, within a bound, and replaced whole,
// durably. Who calls owns the repo: nothing is locked.
package smallfile

import (
	"fmt"
	"io"
	"os"
)

// Read returns the content of a file that must not be larger than limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}
