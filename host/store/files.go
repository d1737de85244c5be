package store

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// files is a storage of one file per block, <dir>/<shard>/<name>: name is the
// multihash in base32 (lower case, no padding), shard the two characters before its
// last (the last one of a sha2-256 carries two bits only). Repos of the first format have
// their blocks so; nothing is added to them any more.
//
// A file is the block's bytes and then their seal: four bytes, big endian, the CRC-32C
// of multihash and bytes together. The multihash is part of it so that one block's
// file under another's name is as wrong as a flipped bit. A file is written in
// <dir>/tmp and renamed, so it is whole whatever kills the process; after a loss of
// power before Sync it may be short or zero, which the seal tells.
type files struct {
	dir  string
	temp atomic.Uint64 // names of temporary files: one process owns the folder
	new  unsynced
	sync syncer
}

var _ storage = (*files)(nil)

const (
	sealSize   = 4
	tempDir    = "tmp"
	markerFile = "unsynced"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	base32name = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// openFiles opens the storage in dir. Without readOnly it makes what is missing and
// removes what a killed process was writing.
func openFiles(dir string, readOnly bool) (*files, error) {
	f := &files{dir: dir}
	if !readOnly {
		if err := makeEmpty(filepath.Join(dir, tempDir)); err != nil {
			return nil, err
		}
	}
	if err := f.new.open(filepath.Join(dir, markerFile)); err != nil {
		return nil, err
	}
	if err := f.sync.open(dir, readOnly); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *files) Where(key multihash.Multihash) string {
	name := base32name.EncodeToString(key)
	return filepath.Join(f.dir, shard(name), name)
}

func shard(name string) string { return name[len(name)-3 : len(name)-1] }

func (f *files) Get(key multihash.Multihash) ([]byte, error) {
	path := f.Where(key)
	data, seal, err := readSealed(path)
	if err != nil {
		return nil, err
	}
	if sealOf(key, data) != seal {
		return nil, &badFileError{path, "checksum does not match"}
	}
	return data, nil
}

// Size takes a file without room for a seal, which is what a loss of power leaves, for
// none at all: whoever asks before putting puts.
func (f *files) Size(key multihash.Multihash) (int64, error) {
	info, err := os.Lstat(f.Where(key))
	if absent(err) || err == nil && info.Size() < sealSize {
		return 0, errAbsent
	}
	if err != nil {
		return 0, err
	}
	return info.Size() - sealSize, nil
}

func (f *files) Put(key multihash.Multihash, data []byte) error {
	path := f.Where(key)
	seal := sealOf(key, data)
	// Whoever is told that the block is kept may remove the original: look, do not assume.
	old, oldSeal, err := readSealed(path)
	if err == nil && oldSeal == seal && bytes.Equal(old, data) {
		return f.sync.relyOn(path)
	}
	if err := f.new.begin(); err != nil {
		return err
	}
	defer f.new.end()
	return f.write(path, data, seal)
}

// write puts a whole file at path, or leaves everything as it was.
func (f *files) write(path string, data []byte, seal uint32) error {
	temp := filepath.Join(f.dir, tempDir, strconv.FormatUint(f.temp.Add(1), 36))
	if err := writeFile(temp, data, binary.BigEndian.AppendUint32(nil, seal)); err != nil {
		return err
	}
	err := os.Rename(temp, path)
	if absent(err) { // the first of its shard
		if err = os.Mkdir(filepath.Dir(path), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = os.Rename(temp, path)
		}
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	return f.sync.relyOn(path)
}

func (f *files) Delete(key multihash.Multihash) error {
	err := os.Remove(f.Where(key))
	if absent(err) {
		return nil
	}
	return err
}

func (f *files) Each(ctx context.Context, fn func(entry) error) error {
	shards, err := os.ReadDir(f.dir)
	if absent(err) {
		return nil // all was migrated
	}
	if err != nil {
		return err
	}
	for _, d := range shards {
		path := filepath.Join(f.dir, d.Name())
		switch {
		case d.Name() == tempDir, d.Name() == markerFile: // what is being written now
		case d.IsDir() && len(d.Name()) == 2:
			err = f.eachOf(ctx, d.Name(), fn)
		default:
			err = fn(entry{Where: path})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachOf is Each for one shard.
func (f *files) eachOf(ctx context.Context, shardName string, fn func(entry) error) error {
	dir := filepath.Join(f.dir, shardName)
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range list {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e := entry{Where: filepath.Join(dir, d.Name())}
		info, err := d.Info()
		if absent(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if key, ok := keyOf(d.Name()); ok && info.Mode().IsRegular() && shard(d.Name()) == shardName {
			e.Key = key
			e.Size = max(0, info.Size()-sealSize)
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) Sync() error  { return f.new.flush(f.sync.flush) }
func (f *files) Close() error { return f.sync.close() }

// keyOf returns the multihash that a file's name stands for: the one spelling of it.
func keyOf(name string) (multihash.Multihash, bool) {
	b, err := base32name.DecodeString(name)
	if err != nil || len(b) > maxKey || base32name.EncodeToString(b) != name {
		return nil, false
	}
	key, err := multihash.Cast(b)
	return key, err == nil
}

func sealOf(key multihash.Multihash, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, data)
}

// readSealed reads a file and parts its bytes from their seal, which it does not check.
func readSealed(path string) (data []byte, seal uint32, err error) {
	file, err := os.Open(path)
	if absent(err) {
		return nil, 0, errAbsent
	}
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() || size < sealSize || size > dag.MaxBlock+sealSize {
		return nil, 0, &badFileError{path, fmt.Sprintf("its size cannot be %d bytes", size)}
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(file, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, 0, &badFileError{path, "it became shorter while it was read"}
		}
		return nil, 0, err
	}
	n := size - sealSize
	return b[:n:n], binary.BigEndian.Uint32(b[n:]), nil
}

// writeFile makes a new file of the parts, or none.
func writeFile(path string, parts ...[]byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err = file.Write(p); err != nil {
			break
		}
	}
	if err == nil {
		startWriteback(file)
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
