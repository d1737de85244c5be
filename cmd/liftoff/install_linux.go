package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameFree renames a file in dir; EEXIST if the new name is taken.
func renameFree(dir *os.File, from, to string) error {
	return unix.Renameat2(int(dir.Fd()), from, int(dir.Fd()), to, unix.RENAME_NOREPLACE)
}

// swapNames swaps the files of two names in dir.
func swapNames(dir *os.File, a, b string) error {
	return unix.Renameat2(int(dir.Fd()), a, int(dir.Fd()), b, unix.RENAME_EXCHANGE)
}
