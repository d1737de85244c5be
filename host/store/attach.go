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

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
	"github.com/ipfs-liftoff/liftoff/host/store/segment"
)

// Kinds of attachments.
const (
	AttachCAR = "car" // a CAR, version 1 or 2
	AttachDir = "dir" // a folder; its blocks are those that add would make, with the profile unixfs-v1-2025
)

// Attachment is a file or folder outside the repo that is read in place: its blocks count as present. It is neither
// copied nor written to.
type Attachment struct {
	Kind   string    // AttachCAR or AttachDir
	Path   string    // absolute
	Roots  []cid.Cid // of the CAR or the folder
	Blocks int64     // distinct
	Bytes  int64     // total size of the blocks
	Kept   bool      // attached for every process, until Detach; otherwise only for this process
	State  string    // AttachedOK or another state, as of the call that returned the Attachment
}

// States of an attachment.
const (
	AttachedOK      = "ok"
	AttachedChanged = "changed" // a file has changed or is missing
	AttachedMissing = "missing" // Path does not exist
	AttachedDamaged = "damaged" // its index cannot be read
)

// attachment is an open Attachment.
type attachment struct {
	Attachment
	index string // folder of its index
	ref   *segment.Reference
	nodes *segment.Store // of a folder: blocks that are in none of its files; nil for a CAR

	ownNodes int64 // number of blocks in nodes
}

// attachedFile lists the persistent attachments as JSON; attachedDir contains a folder with an index for each.
const (
	attachedFile = "attached.json"
	attachedDir  = "attached"
)

// attachmentEntry is an entry of attachedFile.
type attachmentEntry struct {
	Kind        string    `json:"kind"`
	Path        string    `json:"path"`
	Roots       []cid.Cid `json:"roots"`
	Bytes       int64     `json:"bytes"`
	Nodes       int64     `json:"nodes,omitempty"` // blocks of a folder that are in none of its files
	Fingerprint string    `json:"look,omitempty"`  // of a folder, at the time it was read: see folderFingerprint
}

var errAttachKind = errors.New("attachment kind must be car or dir")

// Attach makes the blocks of a CAR or a folder readable in place; with keep for every process that opens the repo,
// until Detach. It reads and hashes the whole content once; attaching it again does not read it again if its
// attributes are unchanged. A block that does not hash to its multihash is an error.
func (s *Store) Attach(ctx context.Context, kind, path string, keep bool) (Attachment, error) {
	if kind != AttachCAR && kind != AttachDir {
		return Attachment{}, fmt.Errorf("attach %s: %q: %w", path, kind, errAttachKind)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return Attachment{}, fmt.Errorf("attach file or folder: %w", err)
	}
	if err := s.enterToWrite(ctx); err != nil {
		return Attachment{}, err
	}
	defer s.leave()
	s.attachments.changing.Lock()
	defer s.attachments.changing.Unlock()
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
	s.attachments.put(a)
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

// Detach removes the attachments of path and their indexes; found is false if path is not attached.
func (s *Store) Detach(ctx context.Context, path string) (found bool, err error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return false, fmt.Errorf("detach file or folder: %w", err)
	}
	if real, err := filepath.EvalSymlinks(full); err == nil {
		full = real
	}
	if err := s.enterToWrite(ctx); err != nil {
		return false, err
	}
	defer s.leave()
	s.attachments.changing.Lock()
	defer s.attachments.changing.Unlock()
	for _, kind := range []string{AttachCAR, AttachDir} {
		if !s.attachments.drop(kind, full) {
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

// Attached returns the attachments and their states, in search order. It stats every attached
// file.
func (s *Store) Attached() []Attachment {
	s.attachments.mu.RLock()
	list := make([]attachment, len(s.attachments.list))
	for i, a := range s.attachments.list {
		list[i] = *a // a is changed when it is attached again
	}
	s.attachments.mu.RUnlock()
	all := make([]Attachment, len(list))
	for i, a := range list {
		all[i] = a.Attachment
		all[i].State = a.state()
	}
	return all
}

// state compares the attached files with the index. The attachment may be closed.
func (a attachment) state() string {
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

// attachedPath returns the folder of an attachment's index.
func (s *Store) attachedPath(kind, path string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + path))
	return filepath.Join(s.dir, attachedDir, hex.EncodeToString(sum[:16]))
}

// loadAttached opens the persistent attachments. One that cannot be opened stays in the list, without its blocks.
func (s *Store) loadAttached() error {
	b, err := os.ReadFile(filepath.Join(s.dir, attachedFile))
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []attachmentEntry
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
		s.attachments.list = append(s.attachments.list, a)
	}
	return nil
}

// writeAttached writes the list of persistent attachments. s.attachments.changing is held.
func (s *Store) writeAttached() error {
	list := []attachmentEntry{}
	s.attachments.mu.RLock()
	defer s.attachments.mu.RUnlock()
	for _, a := range s.attachments.list {
		if a.Kept {
			list = append(list, attachmentEntry{Kind: a.Kind, Path: a.Path, Roots: a.Roots, Bytes: a.Bytes, Nodes: a.ownNodes})
		}
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return smallfile.Replace(filepath.Join(s.dir, attachedFile), append(b, '\n'))
}
