//go:build !linux

package api

import "path/filepath"

// shorten refuses what is too long: only linux has other names for a folder.
func shorten(path string) (dir string, release func(), err error) {
	if len(path) > maxSocketPath {
		return "", nil, ErrSocketPath
	}
	return filepath.Dir(path), func() {}, nil
}
