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

// fileStorage is a storage with one file per block, <dir>/<shard>/<name>: name is the multihash in base32 (lower case, no
// padding), shard the two characters before its last one (the last character of a sha2-256 carries only two bits).
// Repos of the first format store their blocks this way; nothing is added to them any more.
//
// A file is the block's bytes followed by its checksum: four bytes, big endian, the CRC-32C of multihash and bytes
// together. It includes the multihash so that it also detects a file under the wrong name. A file is written in
// <dir>/tmp and renamed, so it is complete if the process is killed. After a power loss before Sync it may be short
// or zero, which the checksum detects.
type fileStorage struct {
	dir  string
	temp atomic.Uint64 // counter for names of temporary files: one process owns the folder
	new  unsynced
	sync syncer
}

var _ storage = (*fileStorage)(nil)

const (
	checksumSize = 4
	tempDir      = "tmp"
	markerFile   = "unsynced"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	base32name = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// openFiles opens the storage in dir. Unless readOnly, it creates missing folders and removes temporary files of a
// killed process.
func openFiles(dir string, readOnly bool) (*fileStorage, error) {
	f := &fileStorage{dir: dir}
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

func (f *fileStorage) Where(key multihash.Multihash) string {
	name := base32name.EncodeToString(key)
	return filepath.Join(f.dir, shard(name), name)
}

func shard(name string) string { return name[len(name)-3 : len(name)-1] }

func (f *fileStorage) Get(key multihash.Multihash) ([]byte, error) {
	path := f.Where(key)
	data, checksum, err := readChecksummed(path)
	if err != nil {
		return nil, err
	}
	if checksumOf(key, data) != checksum {
		return nil, &badFileError{path, "checksum of block file does not match"}
	}
	return data, nil
}

// Size treats a file that is too short for a checksum, as a power loss may leave, as absent: a caller that checks before
// putting then puts the block.
func (f *fileStorage) Size(key multihash.Multihash) (int64, error) {
	info, err := os.Lstat(f.Where(key))
	if absent(err) || err == nil && info.Size() < checksumSize {
		return 0, errAbsent
	}
	if err != nil {
		return 0, err
	}
	return info.Size() - checksumSize, nil
}

func (f *fileStorage) Put(key multihash.Multihash, data []byte) error {
	path := f.Where(key)
	checksum := checksumOf(key, data)
	// The caller may remove the original once Put returns: compare the bytes.
	old, oldChecksum, err := readChecksummed(path)
	if err == nil && oldChecksum == checksum && bytes.Equal(old, data) {
		return f.sync.relyOn(path)
	}
	if err := f.new.begin(); err != nil {
		return err
	}
	defer f.new.end()
	return f.write(path, data, checksum)
}

// write creates a complete file at path, or leaves everything unchanged.
func (f *fileStorage) write(path string, data []byte, checksum uint32) error {
	temp := filepath.Join(f.dir, tempDir, strconv.FormatUint(f.temp.Add(1), 36))
	if err := writeFile(temp, data, binary.BigEndian.AppendUint32(nil, checksum)); err != nil {
		return err
	}
	err := os.Rename(temp, path)
	if absent(err) { // first file of its shard
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

func (f *fileStorage) Delete(key multihash.Multihash) error {
	err := os.Remove(f.Where(key))
	if absent(err) {
		return nil
	}
	return err
}

func (f *fileStorage) Each(ctx context.Context, fn func(entry) error) error {
	shards, err := os.ReadDir(f.dir)
	if absent(err) {
		return nil // everything was migrated
	}
	if err != nil {
		return err
	}
	for _, d := range shards {
		path := filepath.Join(f.dir, d.Name())
		switch {
		case d.Name() == tempDir, d.Name() == markerFile: // being written
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
func (f *fileStorage) eachOf(ctx context.Context, shardName string, fn func(entry) error) error {
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
			continue // deleted in the meantime
		}
		if err != nil {
			return err
		}
		if key, ok := keyOf(d.Name()); ok && info.Mode().IsRegular() && shard(d.Name()) == shardName {
			e.Key = key
			e.Size = max(0, info.Size()-checksumSize)
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *fileStorage) Sync() error  { return f.new.flush(f.sync.flush) }
func (f *fileStorage) Close() error { return f.sync.close() }

// keyOf returns the multihash of a file name, if the name is its canonical form.
func keyOf(name string) (multihash.Multihash, bool) {
	b, err := base32name.DecodeString(name)
	if err != nil || len(b) > maxKey || base32name.EncodeToString(b) != name {
		return nil, false
	}
	key, err := multihash.Cast(b)
	return key, err == nil
}

func checksumOf(key multihash.Multihash, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, data)
}

// readChecksummed reads a file and splits it into bytes and checksum, without verifying it.
func readChecksummed(path string) (data []byte, checksum uint32, err error) {
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
	if !info.Mode().IsRegular() || size < checksumSize || size > dag.MaxBlock+checksumSize {
		return nil, 0, &badFileError{path, fmt.Sprintf("invalid size of block file: %d bytes", size)}
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(file, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, 0, &badFileError{path, "block file was truncated while it was read"}
		}
		return nil, 0, err
	}
	n := size - checksumSize
	return b[:n:n], binary.BigEndian.Uint32(b[n:]), nil
}

// writeFile creates a new file with the parts. After an error the file does not exist.
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
