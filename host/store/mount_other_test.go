//go:build !linux

package store

import "testing"

// freeze makes dir and its content read-only until the test ends.
func freeze(t *testing.T, dir string) { freezeByMode(t, dir) }
