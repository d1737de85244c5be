package wasm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The cache also keeps the rewritten form of a module that was admitted and compiled: wazero
// needs the bytes with the compiled form, and checking the code again and rewriting it takes as
// long as loading it. It is a cache entry like the compiled form, and authenticated like it.

// admission is part of the key: it changes whenever the admission rules change.
const admission = 1

// rewrittenName is the name of the file in such an entry.
var rewrittenName = strings.Repeat("0", 64)

func rewrittenKey(module string) string {
	return entryKey(module, "rewritten, admission "+strconv.Itoa(admission), rewriterKey)
}

// rewritten returns the stored rewritten form of the module named id, or nil.
func (e *engine) rewritten(id string) []byte {
	if e.disk == nil {
		return nil
	}
	b, err := e.disk.read(rewrittenKey(id))
	if err != nil {
		e.cfg.Log.Warn("unusable rewritten module in cache, rewriting again", "module", id, "err", err)
	}
	return b
}

// keepRewritten stores b, the rewritten form of the module named id.
func (e *engine) keepRewritten(id string, b []byte) {
	if e.disk == nil {
		return
	}
	if err := e.disk.write(rewrittenKey(id), b); err != nil {
		e.cfg.Log.Warn("rewritten module not cached", "module", id, "err", err)
	}
}

// read returns the bytes of key, or nil without an entry. An entry that is not authentic is
// removed.
func (c *diskCache) read(key string) ([]byte, error) {
	entry := filepath.Join(c.dir, key)
	name, err := c.verify(key, entry)
	var b []byte
	if err == nil {
		b, err = os.ReadFile(filepath.Join(entry, name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.Join(err, c.remove(entry))
	}
	c.use(entry)
	return b, nil
}

// write makes b the entry of key, unless one exists, then evicts down to the limit.
func (c *diskCache) write(key string, b []byte) error {
	tmp, err := os.MkdirTemp(c.dir, newDir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	path := filepath.Join(tmp, rewrittenName)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	mac, err := c.sealer.seal(key+"/"+rewrittenName, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, macName), mac, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(c.dir, key)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return c.evict(key)
}
