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

// AttachedError reports that a block of an attachment cannot be read: its file has changed or is missing, or the
// index is damaged. It wraps a *dag.DamagedError.
type AttachedError struct {
	CID  cid.Cid
	Path string // the attached CAR or folder
	File string // the file with the block: Path, a file below it, or a file of the index
	Why  string // what is wrong with File
	Kept bool   // the attachment is persistent
	Own  bool   // File is part of the index in the repo
}

func (e *AttachedError) Error() string {
	if e.Own {
		return fmt.Sprintf("read block %s: index of attached %s is damaged: %s: %s", e.CID, e.Path, e.File, e.Why)
	}
	return fmt.Sprintf("read block %s from attached file %s: %s", e.CID, e.File, e.Why)
}

func (e *AttachedError) Unwrap() error { return &dag.DamagedError{CID: e.CID, Where: e.File} }

// Hint returns the command that repairs it.
func (e *AttachedError) Hint() string {
	path := shellWord(e.Path)
	switch _, err := os.Lstat(e.Path); {
	case gone(err) && e.Kept:
		return fmt.Sprintf("restore the attached file or folder, or detach it: liftoff attach rm %s", path)
	case gone(err):
		return fmt.Sprintf("restore %s and run the command again", path)
	case !e.Kept:
		return fmt.Sprintf("run the command again to read the current content of %s", path)
	case e.Own:
		return fmt.Sprintf("rebuild the index: liftoff attach rm %[1]s && liftoff attach add %[1]s", path)
	}
	return fmt.Sprintf("attach the current content: liftoff attach add %[1]s; or detach it: liftoff attach rm %[1]s", path)
}

// gone reports whether err means that the file does not exist.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// shellWord quotes s as one word of a shell command.
func shellWord(s string) string {
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-+=:,@%", r) && r < 0x80
	}
	if strings.IndexFunc(s, special) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// explain converts an error of reading the attachment to a storage error, or to an *AttachedError without a CID.
func (a *attachment) explain(err error) error {
	err = segmentStorage{}.explain(err)
	var bad *badFileError
	if !errors.As(err, &bad) {
		return err
	}
	own := strings.HasPrefix(bad.File, a.index+string(filepath.Separator))
	return &AttachedError{Path: a.Path, File: bad.File, Why: bad.Why, Kept: a.Kept, Own: own}
}
