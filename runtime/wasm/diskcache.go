package wasm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"lukechampine.com/blake3"
)

// diskCache keeps compiled modules between processes. It holds native code that runs in this
// process, so it is private, and every file is authenticated before it is used: wazero's own
// cache has only a checksum, and no size limit.
//
// Each module has a folder, named by its key, with wazero's file under wazero's own name, and
// "mac", which authenticates the file and both names. Several processes may share the cache: an
// entry appears by one rename, and one that disappears is a miss.
type diskCache struct {
	dir    string
	most   int64 // bytes of all entries
	sealer *sealer
}

const (
	macName  = "mac"
	newDir   = "new-"
	staleNew = time.Hour // when an incomplete entry counts as left by a dead process
)

// openDiskCache opens the cache in dir. It creates dir if needed, accessible to its owner only.
func openDiskCache(dir string, most int64) (*diskCache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("cache folder %s is writable by other users (mode %v)", dir, fi.Mode().Perm())
	}
	key, err := loadKey(dir)
	if err != nil {
		return nil, err
	}
	sealer, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	return &diskCache{dir: dir, most: most, sealer: sealer}, nil
}

// entryKey returns the name of a module's compiled form: layout holds wazero's version, the
// architecture and the operating system; rewriter names the rewriting. The processor's features
// are part of wazero's own file name.
func entryKey(module, layout, rewriter string) string {
	h := blake3.New(32, nil)
	for _, s := range []string{"liftoff compiled module", module, layout, rewriter} {
		fmt.Fprintf(h, "%d:%s,", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// load links the entry of key into dir under wazero's name, which it returns, or "" if there is
// no entry. An entry that is not authentic is removed.
func (c *diskCache) load(key, dir string) (name string, err error) {
	entry := filepath.Join(c.dir, key)
	name, err = c.verify(key, entry)
	if err != nil { // another process may have replaced it just now
		name, err = c.verify(key, entry)
	}
	if err == nil {
		err = os.Link(filepath.Join(entry, name), filepath.Join(dir, name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", errors.Join(err, c.remove(entry))
	}
	c.use(entry)
	return name, nil
}

// use records that an entry was used. A failure only affects the order of eviction.
func (c *diskCache) use(entry string) {
	now := time.Now()
	_ = os.Chtimes(entry, now, now)
}

// verify authenticates an entry and returns the name of its file.
func (c *diskCache) verify(key, entry string) (string, error) {
	des, err := os.ReadDir(entry)
	if err != nil {
		return "", err
	}
	if len(des) != 2 || des[1].Name() != macName || !des[0].Type().IsRegular() || !isFileName(des[0].Name()) {
		return "", fmt.Errorf("module cache entry %s is malformed", key)
	}
	name := des[0].Name()
	mac, err := os.ReadFile(filepath.Join(entry, macName))
	if err != nil {
		return "", err
	}
	file, err := os.Open(filepath.Join(entry, name))
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := c.sealer.check(mac, key+"/"+name, file); err != nil {
		return "", fmt.Errorf("module cache entry %s: %w", key, err)
	}
	return name, nil
}

// isFileName reports whether name has the form of wazero's file names: 32 bytes in hexadecimal.
func isFileName(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == 32
}

// store makes the file that wazero wrote to dir the entry of key, then evicts down to the
// limit. loaded is the name of the file that load put there: if wazero accepted it, there is
// nothing to do; if not, there is another file.
func (c *diskCache) store(key, dir, loaded string) error {
	des, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	name := ""
	for _, de := range des {
		if de.Name() != loaded {
			name = de.Name()
		}
	}
	if name == "" { // wazero used the loaded file, or had the module in memory
		return nil
	}
	if !isFileName(name) {
		return fmt.Errorf("wazero's cache folder %s: unexpected file %q", dir, name)
	}
	tmp, err := os.MkdirTemp(c.dir, newDir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := c.fill(tmp, key, name, filepath.Join(dir, name)); err != nil {
		return err
	}
	entry := filepath.Join(c.dir, key)
	if err := os.Rename(tmp, entry); err != nil {
		// Another process stored it first, or the entry is for another processor.
		if there, err := c.verify(key, entry); err == nil && there == name {
			return nil
		}
		if err := c.remove(entry); err != nil {
			return err
		}
		if err := os.Rename(tmp, entry); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return c.evict(key)
}

// remove removes an entry in one step, so that other processes never see half of it.
func (c *diskCache) remove(entry string) error {
	aside, err := os.MkdirTemp(c.dir, newDir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if err := os.Rename(entry, filepath.Join(aside, "old")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c *diskCache) fill(tmp, key, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	mac, err := c.sealer.seal(key+"/"+name, f)
	if err != nil {
		return err
	}
	if err := os.Link(file, filepath.Join(tmp, name)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(tmp, macName), mac, 0o600)
}

// evict removes the least recently used entries until the rest fits. The entry keep is removed
// last.
func (c *diskCache) evict(keep string) error {
	type entry struct {
		path string
		size int64
		used time.Time
	}
	des, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var entries []entry
	var total int64
	for _, de := range des {
		path := filepath.Join(c.dir, de.Name())
		fi, err := de.Info()
		switch {
		case err != nil || !de.IsDir() || strings.HasPrefix(de.Name(), stagePrefix):
			continue
		case strings.HasPrefix(de.Name(), newDir):
			if time.Since(fi.ModTime()) > staleNew {
				os.RemoveAll(path)
			}
			continue
		}
		e := entry{path, dirSize(path), fi.ModTime()}
		if de.Name() == keep {
			e.used = time.Now().Add(staleNew)
		}
		entries = append(entries, e)
		total += e.size
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].used.Before(entries[j].used) })
	for _, e := range entries {
		if total <= c.most {
			break
		}
		if err := c.remove(e.path); err != nil {
			return err
		}
		total -= e.size
	}
	return nil
}

func dirSize(dir string) (n int64) {
	des, _ := os.ReadDir(dir)
	for _, de := range des {
		if fi, err := de.Info(); err == nil {
			n += fi.Size()
		}
	}
	return n
}
