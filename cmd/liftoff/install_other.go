//go:build !windows && !linux && !darwin

package main

import (
	"errors"
	"os"
)

// renameFree is not supported on these systems.
func renameFree(*os.File, string, string) error { return errors.ErrUnsupported }

// swapNames is not supported on these systems.
func swapNames(*os.File, string, string) error { return errors.ErrUnsupported }
