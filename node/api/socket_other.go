//go:build !linux

package api

import (
	"fmt"
	"path/filepath"
)

func shorten(path string) (dir string, release func(), err error) {
	if len(path) > maxSocketPath {
		return "", nil, fmt.Errorf("the path has %d bytes and a socket's may have %d: put the repo at a shorter path", len(path), maxSocketPath)
	}
	return filepath.Dir(path), func() {}, nil
}
