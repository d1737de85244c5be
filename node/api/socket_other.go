//go:build !linux

package api

import "path/filepath"

// shorten returns ErrSocketPath for long paths: only Linux has another name for a folder.
func shorten(path string) (dir string, release func(), err error) {
	if len(path) > maxSocketPath {
		return "", nil, ErrSocketPath
	}
	return filepath.Dir(path), func() {}, nil
}
