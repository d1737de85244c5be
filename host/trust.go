package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
	"github.com/ipfs-liftoff/liftoff/job"
)

// TrustedKey is a key whose receipts are accepted without re-execution.
type TrustedKey struct {
	DID   job.DID   `json:"did"`
	Note  string    `json:"note,omitempty"`
	Added time.Time `json:"added"`
}

// Trust is the list of keys that a repo trusts. Its methods may be called concurrently.
type Trust struct {
	dir string

	mu   sync.RWMutex
	keys map[job.DID]TrustedKey
}

const (
	trustFile = "trust.json"
	maxTrust  = 4 << 20

	// MaxNote is the highest length of a note in bytes.
	MaxNote = 1 << 10
)

// OpenTrust reads the file in dir. A damaged file is an error: a listed key is never dropped silently, and no other
// key is trusted.
func OpenTrust(dir string) (*Trust, error) {
	t := &Trust{dir: dir, keys: map[job.DID]TrustedKey{}}
	path := filepath.Join(dir, trustFile)
	b, err := smallfile.Read(path, maxTrust)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read trusted keys: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var keys []TrustedKey
	err = d.Decode(&keys)
	if err == nil {
		if _, e := d.Token(); e != io.EOF {
			err = errors.New("trailing data after the list of keys")
		}
	}
	for _, k := range keys {
		if err == nil {
			err = k.check()
		}
		t.keys[k.DID] = k
	}
	if err != nil {
		return nil, fmt.Errorf("trust file %s is damaged: %w", path, err)
	}
	return t, nil
}

func (k TrustedKey) check() error {
	if _, err := k.DID.Key(); err != nil {
		return err
	}
	if len(k.Note) > MaxNote || !utf8.ValidString(k.Note) {
		return fmt.Errorf("note of a trusted key: want UTF-8 of at most %d bytes", MaxNote)
	}
	return nil
}

// Has reports whether d is trusted.
func (t *Trust) Has(d job.DID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, ok := t.keys[d]
	return ok
}

// List returns the keys, sorted by DID.
func (t *Trust) List() []TrustedKey {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.list(t.keys)
}

func (*Trust) list(keys map[job.DID]TrustedKey) []TrustedKey {
	all := make([]TrustedKey, 0, len(keys))
	for _, d := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, keys[d])
	}
	return all
}

// Add trusts k, durably. A key that is trusted already keeps its time and gets the new note.
func (t *Trust) Add(k TrustedKey) error {
	if err := k.check(); err != nil {
		return err
	}
	return t.change(func(keys map[job.DID]TrustedKey) {
		if old, ok := keys[k.DID]; ok {
			k.Added = old.Added
		}
		keys[k.DID] = k
	})
}

// Remove ends the trust in d, durably, and reports whether d was trusted.
func (t *Trust) Remove(d job.DID) (bool, error) {
	if !t.Has(d) {
		return false, nil
	}
	return true, t.change(func(keys map[job.DID]TrustedKey) { delete(keys, d) })
}

func (t *Trust) change(f func(map[job.DID]TrustedKey)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := maps.Clone(t.keys)
	f(keys)
	b, err := json.MarshalIndent(t.list(keys), "", "\t")
	if err != nil {
		return err
	}
	if len(b) >= maxTrust {
		return fmt.Errorf("write trusted keys: want at most %d bytes in the trust file", maxTrust)
	}
	if err := smallfile.Replace(filepath.Join(t.dir, trustFile), append(b, '\n')); err != nil {
		return fmt.Errorf("write trusted keys: %w", err)
	}
	t.keys = keys
	return nil
}
