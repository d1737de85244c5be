package dag

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// AddFile adds all that r gives as one file. Chunks are hashed on all cores; at most a few of them are in
// memory. They are put in order, but to a [CopyingPutter] as each is ready.
func AddFile(ctx context.Context, bs Blocks, r io.Reader, p Profile) (Entry, error) {
	var alone sync.Mutex
	return addFile(ctx, bs, r, p, &alone, copies(bs))
}

// addFile adds a file; one of more than a chunk is added under large, as it takes all
// cores and a window of chunks by itself. anyOrder has leaves put as each is ready.
func addFile(ctx context.Context, bs Blocks, r io.Reader, p Profile, large *sync.Mutex, anyOrder bool) (Entry, error) {
	first, err := readFirst(r, p.ChunkSize)
	if err != nil {
		return Entry{}, err
	}
	if len(first) < p.ChunkSize {
		return addSmall(ctx, bs, first, p)
	}
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

// readFirst is readChunk for a file that may be small: it begins with a small buffer
// and leaves none that is much larger than what it holds.
func readFirst(r io.Reader, size int) ([]byte, error) {
	chunk := make([]byte, min(size, 4<<10))
	n := 0
	for {
		k, err := io.ReadFull(r, chunk[n:])
		n += k
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return bytes.Clone(chunk[:n]), nil
		}
		if err != nil || n == size {
			return chunk[:n], err
		}
		chunk = append(make([]byte, 0, min(8*n, size)), chunk...)
		chunk = chunk[:cap(chunk)]
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
