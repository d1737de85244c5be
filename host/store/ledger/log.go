package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// A log begins with a header: a magic, eight random bytes, and the CRC-32C of both. Then come frames, one for each
// batch: a magic, a checksum, the payload's length as a big-endian uint32, the payload. The payload is the entries:
// an op byte (1 sets a value, 2 deletes), the key's length as a uvarint, the key, and for a value its length and the
// value.
//
// The checksum is the CRC-32C of the header's random bytes, the frame's offset in the file, the length and the
// payload. A value that looks like a frame, which a guest may print, is therefore not accepted as one: only this log
// can make valid frames.
const (
	logHeader   = 16
	frameHeader = 12
)

var (
	logMagic   = [4]byte{'L', 'F', 'L', 1}
	frameMagic = [4]byte{'L', 'F', 0xF5, 1}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// secret holds the random bytes of a log.
type secret [8]byte

// sum is the checksum of a frame at offset at. rest is the frame from its length field on.
func (s secret) sum(at int64, rest []byte) uint32 {
	seed := binary.BigEndian.AppendUint64(s[:], uint64(at))
	return crc32.Update(crc32.Checksum(seed, castagnoli), castagnoli, rest)
}

func newHeader() []byte {
	h := make([]byte, 12, logHeader)
	copy(h, logMagic[:])
	rand.Read(h[4:])
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// secretOf returns the random bytes of log b; ok is false if the header is damaged.
func secretOf(b []byte) (secret, bool) {
	if len(b) < logHeader || [4]byte(b) != logMagic || crc32.Checksum(b[:12], castagnoli) != binary.BigEndian.Uint32(b[12:]) {
		return secret{}, false
	}
	return secret(b[4:12]), true
}

const (
	opSet    = 1
	opDelete = 2
)

// appendFrame appends a frame with entries to b. at is the frame's offset in the log with secret s.
func appendFrame(b []byte, s secret, at int64, entries []Entry) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, frameHeader)...)
	for _, e := range entries {
		if e.Key == "" || len(e.Key) > MaxKey {
			return b[:start], fmt.Errorf("ledger key: got %d bytes, want 1 to %d", len(e.Key), MaxKey)
		}
		if e.Delete {
			b = append(b, opDelete)
		} else {
			b = append(b, opSet)
		}
		b = binary.AppendUvarint(b, uint64(len(e.Key)))
		b = append(b, e.Key...)
		if !e.Delete {
			b = binary.AppendUvarint(b, uint64(len(e.Value)))
			b = append(b, e.Value...)
		}
		if len(b)-start-frameHeader > MaxBatch {
			return b[:start], fmt.Errorf("ledger batch exceeds %d bytes", MaxBatch)
		}
	}
	h := b[start:]
	copy(h, frameMagic[:])
	binary.BigEndian.PutUint32(h[8:], uint32(len(h)-frameHeader))
	binary.BigEndian.PutUint32(h[4:], s.sum(at, h[8:]))
	return b, nil
}

// frameAt returns the length of the complete, intact frame at offset at of log b, or 0.
func frameAt(b []byte, s secret, at int64) int {
	b = b[at:]
	if len(b) < frameHeader || [4]byte(b) != frameMagic {
		return 0
	}
	n := int64(binary.BigEndian.Uint32(b[8:]))
	if n > MaxBatch || n > int64(len(b)-frameHeader) {
		return 0
	}
	b = b[:frameHeader+n]
	if s.sum(at, b[8:]) != binary.BigEndian.Uint32(b[4:]) {
		return 0
	}
	return len(b)
}

var errEntry = errors.New("invalid entry in a ledger log")

// eachEntry calls fn with the entries of a frame's payload. They share memory with p.
func eachEntry(p []byte, fn func(Entry)) error {
	field := func() ([]byte, bool) {
		n, w := binary.Uvarint(p)
		if w <= 0 || n > uint64(len(p)-w) {
			return nil, false
		}
		f := p[w : w+int(n)]
		p = p[w+int(n):]
		return f, true
	}
	for len(p) > 0 {
		op := p[0]
		p = p[1:]
		key, ok := field()
		if !ok || len(key) == 0 || len(key) > MaxKey || op != opSet && op != opDelete {
			return errEntry
		}
		e := Entry{Key: string(key), Delete: op == opDelete}
		if !e.Delete {
			if e.Value, ok = field(); !ok {
				return errEntry
			}
		}
		fn(e)
	}
	return nil
}

// logFile is a log open for writing. The ledger serialises appends.
type logFile struct {
	file    diskfs.File
	number  uint32
	secret  secret
	size    int64
	room    int64         // Invariant: room >= size; the space from size to room is allocated
	begun   bool          // the header is durable
	written atomic.Uint64 // number of appends

	syncing sync.Mutex
	clean   atomic.Uint64
	syncDir func() error // makes the log's name durable; nil once it is
	failed  error        // error of the first failed sync
	closed  bool
}

// roomStep is how many bytes a log preallocates at once.
const roomStep = 64 << 10

// takeRoom makes sure that disk space is allocated for size bytes of the log.
func (f *logFile) takeRoom(size int64) error {
	if size <= f.room {
		return nil
	}
	to := max(size, f.room+roomStep)
	err := f.takeTo(to)
	if diskfs.Full(err) {
		to = size
		err = f.takeTo(to)
	}
	if err == nil {
		f.room = to
	}
	return err
}

func (f *logFile) takeTo(to int64) error {
	err := diskfs.Allocate(f.file, f.room, to-f.room)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if !f.begun { // zeros without a header before them would be a damaged log
		if err := f.file.Sync(); err != nil {
			return err
		}
		f.begun = true
	}
	return diskfs.TakeRoom(f.file, f.room, to-f.room)
}

// append writes a frame at f.size and overwrites a partial frame of a failed call. It keeps leave bytes preallocated
// behind the frame; if leave is negative, it preallocates nothing.
func (f *logFile) append(frame []byte, leave int64) error {
	if leave >= 0 {
		if err := f.takeRoom(f.size + int64(len(frame)) + leave); err != nil {
			return err
		}
	}
	if _, err := f.file.WriteAt(frame, f.size); err != nil {
		return err
	}
	f.room = max(f.room, f.size+int64(len(frame)))
	f.size += int64(len(frame))
	f.written.Add(1)
	return nil
}

func (f *logFile) dirty() bool { return f.written.Load() != f.clean.Load() }

// sync makes the appended frames durable. A log that was sealed and closed in the meantime is durable as a table. A
// failed sync is not retried: the system may have dropped the data it could not write, and a second sync could
// succeed without it.
func (f *logFile) sync() error {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	n := f.written.Load()
	if n == f.clean.Load() || f.closed {
		return nil
	}
	if f.failed == nil {
		f.failed = f.file.Sync()
	}
	if f.failed == nil && f.syncDir != nil {
		if f.failed = f.syncDir(); f.failed == nil {
			f.syncDir = nil
		}
	}
	if f.failed == nil {
		f.clean.Store(n)
	}
	return f.failed
}

func (f *logFile) close() error {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	f.closed = true
	return f.file.Close()
}
