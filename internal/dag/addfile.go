package dag

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// AddFile adds the content of r as one file. Chunks are hashed on all cores; only a few of them are in memory. They
// are put in order, except to a [CopyingPutter], which gets each as soon as it is ready.
func AddFile(ctx context.Context, bs Blocks, r io.Reader, p Profile) (Entry, error) {
	var alone sync.Mutex
	var memory []byte
	return addFile(ctx, bs, r, p, &alone, copiesOnPut(bs), &memory)
}

// addFile adds a file. A file of more than one chunk is added with large locked, because it uses all cores and a
// window of chunks. With anyOrder leaves are put as soon as each is ready. memory is a buffer that earlier files left
// for reuse.
func addFile(ctx context.Context, bs Blocks, r io.Reader, p Profile, large *sync.Mutex, anyOrder bool, memory *[]byte) (Entry, error) {
	first, err := readFirst(r, p.ChunkSize, memory)
	if err != nil {
		return Entry{}, err
	}
	if len(first) < p.ChunkSize {
		if !copiesOnPut(bs) {
			first = bytes.Clone(first)
		}
		return addSmall(ctx, bs, first, p)
	}
	*memory = nil // it contains the first of many chunks
	large.Lock()
	defer large.Unlock()
	return addLarge(ctx, bs, first, r, p, anyOrder)
}

// addSmall adds a file of one chunk.
func addSmall(ctx context.Context, bs Blocks, chunk []byte, p Profile) (Entry, error) {
	b, c, err := p.leaf(chunk)
	if err != nil {
		return Entry{}, err
	}
	if err := bs.Put(ctx, b); err != nil {
		return Entry{}, err
	}
	return Entry{CID: b.cid, Size: c.size, TSize: c.link.tsize, Kind: c.kind}, nil
}

// readFirst is readChunk into memory, which grows from a small size while r yields more.
func readFirst(r io.Reader, size int, memory *[]byte) ([]byte, error) {
	n := 0
	for {
		if n == len(*memory) {
			larger := make([]byte, min(size, max(4<<10, 8*n)))
			copy(larger, *memory)
			*memory = larger
		}
		k, err := io.ReadFull(r, (*memory)[n:])
		n += k
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		} else if err == nil && n < size {
			continue
		}
		return (*memory)[:n], err
	}
}

// readChunk fills chunk; fewer bytes mean that r has ended.
func readChunk(r io.Reader, chunk []byte) ([]byte, error) {
	n, err := io.ReadFull(r, chunk)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return chunk[:n], err
}
