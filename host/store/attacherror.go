package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// AttachedError says that a block of an attachment cannot be read: the file that it was in has changed or is gone, or
// the index is damaged. It is a *dag.DamagedError, too.
type AttachedError struct {
	CID  cid.Cid
	Path string // what was attached: a CAR or a folder
	File string // the file that held the block: Path, one below it, or one of the index
	Why  string // a clause about File
	Kept bool   // the attachment is there for every process
	Own  bool   // File belongs to the index in the repo
}

func (e *AttachedError) Error() string {
	if e.Own {
		return fmt.Sprintf("block %s cannot be read: the index of the attached %s is damaged (in %s): %s", e.CID, e.Path, e.File, e.Why)
	}
	return fmt.Sprintf("block %s cannot be read from the attached file %s: %s", e.CID, e.File, e.Why)
}

func (e *AttachedError) Unwrap() error { return &dag.DamagedError{CID: e.CID, Where: e.File} }

// Hint returns what repairs it, as a command to type.
func (e *AttachedError) Hint() string {
	path := shellWord(e.Path)
	switch _, err := os.Lstat(e.Path); {
	case gone(err) && e.Kept:
		return fmt.Sprintf("put it back, or forget it: liftoff attach rm %s", path)
	case gone(err):
		return fmt.Sprintf("put %s back, and run the command again", path)
	case !e.Kept:
		return fmt.Sprintf("run the command again: it reads %s as it is now", path)
	case e.Own:
		return fmt.Sprintf("make the index again: liftoff attach rm %[1]s && liftoff attach add %[1]s", path)
	}
	return fmt.Sprintf("read it as it is now: liftoff attach add %[1]s; or forget it: liftoff attach rm %[1]s", path)
}

// gone reports whether err says that there is no such file.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// shellWord returns s as one word of a shell's command line.
func shellWord(s string) string {
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-+=:,@%", r) && r < 0x80
	}
	if strings.IndexFunc(s, special) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// explain turns what a read of the attachment came to into a storage's error, or into an *AttachedError without a CID.
func (a *attachment) explain(err error) error {
	err = segments{}.explain(err)
	var bad *badFileError
	if !errors.As(err, &bad) {
		return err
	}
	own := strings.HasPrefix(bad.File, a.index+string(filepath.Separator))
	return &AttachedError{Path: a.Path, File: bad.File, Why: bad.Why, Kept: a.Kept, Own: own}
}
