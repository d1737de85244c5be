package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameFree renames within dir unless the new name is taken, which is EEXIST.
func renameFree(dir *os.File, from, to string) error {
	return unix.Renameat2(int(dir.Fd()), from, int(dir.Fd()), to, unix.RENAME_NOREPLACE)
}

// swapNames swaps what two names in dir stand for.
func swapNames(dir *os.File, a, b string) error {
	return unix.Renameat2(int(dir.Fd()), a, int(dir.Fd()), b, unix.RENAME_EXCHANGE)
}
