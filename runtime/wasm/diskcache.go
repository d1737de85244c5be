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

// diskCache keeps compiled modules between processes. What it holds is native code
// that runs in this process, so it is private and every file is authenticated before
// it is used: wazero's own cache has a checksum only, and no end.
//
// A module is one folder, named by its key, that holds wazero's file under wazero's
// own name, and "mac", which authenticates the file and both names. Several processes
// may share the cache: an entry appears by one rename, and one that vanishes is a miss.
type diskCache struct {
	dir    string
	most   int64 // bytes of all entries
	sealer *sealer
}

const (
	macName  = "mac"
	newDir   = "new-"
	staleNew = time.Hour // a half-made entry of a dead process
)

// openDiskCache makes dir, for its owner alone, if it is not there.
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
		return nil, fmt.Errorf("others may write to %s (mode %v)", dir, fi.Mode().Perm())
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

// entryKey names the compiled form of a module: layout holds wazero's version, the
// architecture and the system, rewriter what was done to the module before. wazero's own
// name for the file depends on the processor's features.
func entryKey(module, layout, rewriter string) string {
	h := blake3.New(32, nil)
	for _, s := range []string{"liftoff compiled module", module, layout, rewriter} {
		fmt.Fprintf(h, "%d:%s,", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// load links the entry of key into dir, under wazero's name, which it returns; "" when
// there is no entry. One that is not authentic is removed.
func (c *diskCache) load(key, dir string) (name string, err error) {
	entry := filepath.Join(c.dir, key)
	name, err = c.verify(key, entry)
	if err != nil { // perhaps another process replaced it at this moment
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

// use notes that an entry was used. A cache that cannot say so is still right.
func (c *diskCache) use(entry string) {
	now := time.Now()
	_ = os.Chtimes(entry, now, now)
}

// verify returns the name of the entry's file.
func (c *diskCache) verify(key, entry string) (string, error) {
	des, err := os.ReadDir(entry)
	if err != nil {
		return "", err
	}
	if len(des) != 2 || des[1].Name() != macName || !des[0].Type().IsRegular() || !isFileName(des[0].Name()) {
		return "", fmt.Errorf("entry %s is malformed", key)
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
		return "", fmt.Errorf("entry %s: %w", key, err)
	}
	return name, nil
}

// isFileName reports that name is one that wazero gives: 32 bytes in hexadecimal.
func isFileName(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == 32
}

// store makes the file that wazero wrote to dir the entry of key, then keeps the cache
// within its bounds. loaded is the name that load put there: when wazero found it good
// there is nothing to do; when it did not, there is another file.
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
	if name == "" { // wazero took what was loaded, or had the module in memory
		return nil
	}
	if !isFileName(name) {
		return fmt.Errorf("wazero's cache is laid out in an unknown way: a file %q", name)
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
		// Another process was first, or the entry is for another processor.
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

// remove takes an entry away in one step, so that nobody finds half of it.
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

// evict removes the entries used longest ago until the others fit. The one of keep
// goes last.
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
