package segment

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// found is a section found by a scan.
type found struct {
	mh    multihash.Multihash
	begin int64
	at    int64 // of its bytes
	size  int
	sum   uint32
	bad   bool // its bytes do not hash to its name
}

// scanWindow is how many bytes are read and hashed together.
const scanWindow = 16 << 20

// scanSections calls fn for the sections of a segment from offset from, in order. It hashes each of them, on all
// cores. Where it finds no section, it searches for the next one that hashes to its multihash, so that only damaged
// sections are lost.
func scanSections(f diskfs.File, from, size int64, fn func(found) error) error {
	if from < int64(len(carHeader)) {
		from = int64(len(carHeader))
	}
	buf := make([]byte, max(0, min(scanWindow, size-from)))
	for from < size {
		b := buf[:min(int64(len(buf)), size-from)]
		if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
			return err
		}
		list, used := parseWindow(b, from)
		if used == 0 {
			next, err := resync(f, from+1, size)
			if err != nil || next < 0 {
				return err
			}
			from = next
			continue
		}
		bad := -1
		for i, one := range list {
			if err := fn(one); err != nil {
				return err
			}
			if one.bad {
				bad = i
				break
			}
		}
		if bad < 0 {
			from += int64(used)
			continue
		}
		// The damage may be in its length, and the next section may begin inside it.
		end := list[bad].at + int64(list[bad].size)
		next, err := resync(f, list[bad].begin+1, size)
		if err != nil {
			return err
		}
		if from = end; next >= 0 {
			from = min(next, end)
		}
	}
	return nil
}

// parseWindow parses and checks the sections at the start of b; at is the offset of b in the segment.
func parseWindow(b []byte, at int64) (list []found, used int) {
	var datas [][]byte
	for used < len(b) {
		c, _, ok := parseSection(b[used:])
		if !ok {
			break
		}
		list = append(list, found{mh: bytes.Clone(c.mh), begin: at + int64(used), at: at + int64(used+c.head), size: len(c.data)})
		datas = append(datas, c.data)
		used += c.len()
	}
	check := func(i int) {
		list[i].sum = sumOf(list[i].mh, datas[i])
		list[i].bad = !hashes(list[i].mh, datas[i])
	}
	if used < 256<<10 {
		for i := range list {
			check(i)
		}
		return list, used
	}
	var g errgroup.Group
	for w := range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for i := w; i < len(list); i += runtime.GOMAXPROCS(0) {
				check(i)
			}
			return nil
		})
	}
	g.Wait()
	return list, used
}

func hashes(mh multihash.Multihash, data []byte) bool {
	_, err := dag.CheckBlock(cid.NewCidV1(cid.Raw, mh), data)
	return err == nil
}

// anchor is the byte sequence after the length of a section with a sha2-256 multihash.
var anchor = []byte{1, 0x55, 0x12, 0x20}

// resync returns the offset of the next section, at or after from, that hashes to its multihash, or -1. It finds only
// sections with sha2-256, which nearly all have.
func resync(f diskfs.File, from, size int64) (int64, error) {
	const overlap = int64(binary.MaxVarintLen32) + 4
	var buf []byte
	window := int64(64 << 10)
	for at := from; at < size; at += window - overlap {
		window = min(2*window, 8<<20)
		buf = slices.Grow(buf[:0], int(min(window, size-at)))
		b := buf[:min(window, size-at)]
		if _, err := f.ReadAt(b, at); err != nil && err != io.EOF {
			return 0, err
		}
		for i := 0; ; i++ {
			k := bytes.Index(b[i:], anchor)
			if k < 0 {
				break
			}
			i += k
			begin, err := sectionBefore(f, b, i, at, size)
			if err != nil || begin >= 0 {
				return begin, err
			}
		}
	}
	return -1, nil
}

// sectionBefore returns the offset of the section whose CID is at byte i of b, or -1.
func sectionBefore(f diskfs.File, b []byte, i int, at, size int64) (int64, error) {
	for w := 1; w <= binary.MaxVarintLen32 && w <= i; w++ {
		begin := at + int64(i-w)
		n, k := binary.Uvarint(b[i-w : i])
		if k != w || n > maxSection || begin+int64(w)+int64(n) > size {
			continue
		}
		whole := make([]byte, w+int(n))
		if _, err := f.ReadAt(whole, begin); err != nil && err != io.EOF {
			return 0, err
		}
		if c, _, ok := parseSection(whole); ok && c.len() == len(whole) && hashes(c.mh, c.data) {
			return begin, nil
		}
	}
	return -1, nil
}
