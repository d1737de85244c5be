package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
	"github.com/ipfs-liftoff/liftoff/host/store/segment"
)

// Kinds of what can be attached.
const (
	AttachCAR = "car" // a CAR of version 1 or 2
	AttachDir = "dir" // a folder, as add would take it in: its blocks have the profile unixfs-v1-2025
)

// Attachment is data outside of the repo that is read in place: its blocks count as here, nothing of
// it is copied, and nothing is written to it.
type Attachment struct {
	Kind   string    // AttachCAR or AttachDir
	Path   string    // absolute
	Roots  []cid.Cid // of the CAR, or of the folder
	Blocks int64
	Bytes  int64  // of the blocks
	Kept   bool   // for every process, until Detach; else for this one
	State  string // AttachedOK or another one, as of the call that returned the Attachment
}

// States of an attachment.
const (
	AttachedOK      = "ok"
	AttachedChanged = "changed" // a file has changed or is missing
	AttachedMissing = "missing" // Path does not exist
	AttachedDamaged = "damaged" // its index cannot be read
)

// attachment is one that is open.
type attachment struct {
	Attachment
	index string // the folder of its index
	ref   *segment.Reference
	nodes *segment.Store // of a folder: what is in none of its files; nil for a CAR
}

// attachedFile lists those that are kept, as JSON; attachedDir has a folder with an index for each.
const (
	attachedFile = "attached.json"
	attachedDir  = "attached"
)

// kept is a line of attachedFile.
type kept struct {
	Kind  string    `json:"kind"`
	Path  string    `json:"path"`
	Roots []cid.Cid `json:"roots"`
	Bytes int64     `json:"bytes"`
	Look  string    `json:"look,omitempty"` // of a folder, when it was read: see lookOf
}

var errAttachKind = errors.New("what is attached is a car or a dir")

// Attach has the blocks of a CAR or a folder read in place, from now on; with keep by every process that
// opens the repo, until Detach. It reads and hashes all of it, once: what is attached again and looks as
// it did is not read again. A block that does not hash to its name is an error.
func (s *Store) Attach(ctx context.Context, kind, path string, keep bool) (Attachment, error) {
	if kind != AttachCAR && kind != AttachDir {
		return Attachment{}, fmt.Errorf("attach %s: %q: %w", path, kind, errAttachKind)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return Attachment{}, fmt.Errorf("attach: %w", err)
	}
	if err := s.enterToWrite(ctx); err != nil {
		return Attachment{}, err
	}
	defer s.leave()
	s.outside.changing.Lock()
	defer s.outside.changing.Unlock()
	a := s.openAttachment(kind, path)
	if a == nil {
		k, err := s.indexAttachment(ctx, kind, path)
		if err == nil {
			a, err = s.renewAttachment(k)
		}
		if err != nil {
			return Attachment{}, fmt.Errorf("attach %s: %w", path, err)
		}
	}
	a.Kept = keep
	s.outside.put(a)
	s.coverage.forget()
	if a.Kept {
		if err := s.writeAttached(); err != nil {
			return Attachment{}, fmt.Errorf("attach %s: %w", path, err)
		}
	}
	attached := a.Attachment
	attached.State = AttachedOK
	return attached, nil
}

// Detach forgets an attachment of that path, and its index; found is false when there is none.
func (s *Store) Detach(ctx context.Context, path string) (found bool, err error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return false, fmt.Errorf("detach: %w", err)
	}
	if real, err := filepath.EvalSymlinks(full); err == nil {
		full = real
	}
	if err := s.enterToWrite(ctx); err != nil {
		return false, err
	}
	defer s.leave()
	s.outside.changing.Lock()
	defer s.outside.changing.Unlock()
	for _, kind := range []string{AttachCAR, AttachDir} {
		if !s.outside.drop(kind, full) {
			continue
		}
		found = true
		if err := s.writeAttached(); err != nil {
			return true, fmt.Errorf("detach %s: %w", path, err)
		}
		if err := removeAll(s.attachedPath(kind, full)); err != nil {
			return true, fmt.Errorf("detach %s: %w", path, err)
		}
	}
	if found {
		s.coverage.forget()
	}
	return found, nil
}

// Attached returns the attachments and their states, in the order in which they are searched. It stats every attached
// file.
func (s *Store) Attached() []Attachment {
	s.outside.mu.RLock()
	list := slices.Clone(s.outside.list)
	s.outside.mu.RUnlock()
	all := make([]Attachment, len(list))
	for i, a := range list {
		all[i] = a.Attachment
		all[i].State = a.state()
	}
	return all
}

// state compares the attached files with the index. The attachment may be closed.
func (a *attachment) state() string {
	switch _, err := os.Lstat(a.Path); {
	case gone(err):
		return AttachedMissing
	case a.ref == nil:
		return AttachedDamaged
	case len(a.ref.Changed()) > 0:
		return AttachedChanged
	}
	return AttachedOK
}

// attachedPath is the folder of an attachment's index.
func (s *Store) attachedPath(kind, path string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + path))
	return filepath.Join(s.dir, attachedDir, hex.EncodeToString(sum[:16]))
}

// loadAttached opens what is kept. What cannot be opened stays in the list, without its blocks.
func (s *Store) loadAttached() error {
	b, err := os.ReadFile(filepath.Join(s.dir, attachedFile))
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []kept
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return &PinError{File: filepath.Join(s.dir, attachedFile), Why: err.Error()}
	}
	for _, k := range list {
		a, err := s.reopenAttachment(k)
		if err != nil {
			a = &attachment{Attachment: Attachment{Kind: k.Kind, Path: k.Path, Roots: k.Roots}}
		}
		a.Kept = true
		s.outside.list = append(s.outside.list, a)
	}
	return nil
}

// writeAttached writes what is kept. s.outside.changing is held.
func (s *Store) writeAttached() error {
	list := []kept{}
	s.outside.mu.RLock()
	defer s.outside.mu.RUnlock()
	for _, a := range s.outside.list {
		if a.Kept {
			list = append(list, kept{Kind: a.Kind, Path: a.Path, Roots: a.Roots, Bytes: a.Bytes})
		}
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return smallfile.Replace(filepath.Join(s.dir, attachedFile), append(b, '\n'))
}
