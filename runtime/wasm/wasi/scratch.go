package wasi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Contents stay in memory while they are small and few, so that thousands of small files need
// no system calls. A guest cannot see the difference.
const (
	smallContent  = 64 << 10 // bytes of one content in memory
	memoryContent = 32 << 20 // bytes of all contents in memory
	maxHostFiles  = 64       // scratch files open at once
)

// scratch stores the contents of files in a folder of the host. The guest's file names never
// reach the host: scratch files are numbered.
type scratch struct {
	dir      string
	created  int        // numbers used so far
	inMemory int        // bytes of contents in memory
	open     []*content // contents with an open host file, least recently used first
}

// content is the bytes of one file: in memory, or in its own scratch file. A machine fault ends
// the run.
type content struct {
	s    *scratch
	size uint64
	data []byte   // all of them, while number is 0
	num  int      // the scratch file's name; 0: none yet
	f    *os.File // nil if num is 0 or the file is not open now
}

// readAt reads all of p or up to the end.
func (c *content) readAt(p []byte, off uint64) int {
	n, err := c.read(p, off)
	if err != nil {
		panic(err)
	}
	return n
}

// read is readAt, but returns a machine fault as an error.
func (c *content) read(p []byte, off uint64) (int, error) {
	if off >= c.size {
		return 0, nil
	}
	p = p[:min(uint64(len(p)), c.size-off)]
	if c.num == 0 {
		return copy(p, c.data[off:]), nil
	}
	f, err := c.openFile()
	if err != nil {
		return 0, err
	}
	n, err := f.ReadAt(p, int64(off))
	if n == len(p) {
		return n, nil
	}
	if errors.Is(err, io.EOF) { // the host's file is shorter than the content
		err = io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("read scratch file: %w", err)
}

// writeAt writes p at off and grows the content as needed, with zeros in the gap.
func (c *content) writeAt(p []byte, off uint64) {
	if len(p) == 0 {
		return
	}
	end := max(c.size, off+uint64(len(p)))
	if c.num == 0 && !c.resizeInMemory(end) {
		c.spill()
	}
	c.size = end
	if c.num == 0 {
		copy(c.data[off:], p)
		return
	}
	if _, err := c.file().WriteAt(p, int64(off)); err != nil {
		panic(fmt.Errorf("write scratch file: %w", err))
	}
}

// resize truncates the content or extends it with zeros.
func (c *content) resize(size uint64) {
	if c.num == 0 && !c.resizeInMemory(size) {
		c.spill()
	}
	if c.num != 0 {
		if err := c.file().Truncate(int64(size)); err != nil {
			panic(fmt.Errorf("resize scratch file: %w", err))
		}
	}
	c.size = size
}

func (c *content) resizeInMemory(size uint64) bool {
	if size > smallContent {
		return false
	}
	n := int(size)
	if n > cap(c.data) {
		room := min(max(n, 2*cap(c.data), 512), smallContent)
		if c.s.inMemory+room-cap(c.data) > memoryContent {
			return false
		}
		c.s.inMemory += room - cap(c.data)
		grown := make([]byte, len(c.data), room)
		copy(grown, c.data)
		c.data = grown
	}
	if n > len(c.data) {
		clear(c.data[len(c.data):n])
	}
	c.data = c.data[:n]
	return true
}

// spill moves the content from memory to a scratch file.
func (c *content) spill() {
	c.s.created++
	c.num = c.s.created
	if _, err := c.file().WriteAt(c.data, 0); err != nil {
		panic(fmt.Errorf("write scratch file: %w", err))
	}
	c.s.inMemory -= cap(c.data)
	c.data = nil
}

// file is openFile, but panics on a machine fault.
func (c *content) file() *os.File {
	f, err := c.openFile()
	if err != nil {
		panic(err)
	}
	return f
}

// openFile returns the open scratch file; if too many are open, it closes the least recently
// used one.
func (c *content) openFile() (*os.File, error) {
	open := c.s.open
	if c.f != nil {
		if last := len(open) - 1; open[last] != c {
			i := slices.Index(open, c)
			copy(open[i:], open[i+1:])
			open[last] = c
		}
		return c.f, nil
	}
	if len(open) >= maxHostFiles {
		if err := open[0].closeFile(); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(c.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open scratch file: %w", err)
	}
	c.f = f
	c.s.open = append(c.s.open, c)
	return f, nil
}

func (c *content) path() string { return filepath.Join(c.s.dir, strconv.Itoa(c.num)) }

func (c *content) closeFile() error {
	if c.f == nil {
		return nil
	}
	err := c.f.Close()
	c.f = nil
	c.s.open = slices.DeleteFunc(c.s.open, func(o *content) bool { return o == c })
	if err != nil {
		return fmt.Errorf("close scratch file: %w", err)
	}
	return nil
}

// free releases the content.
func (c *content) free() {
	if c.num == 0 {
		c.s.inMemory -= cap(c.data)
	} else {
		if err := c.closeFile(); err != nil {
			panic(err)
		}
		if err := os.Remove(c.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			panic(fmt.Errorf("remove scratch file: %w", err))
		}
	}
	c.data, c.num, c.size = nil, 0, 0
}

// reader reads the content from its start. A machine fault is an error: another goroutine than
// the run's may read it.
func (c *content) reader() io.Reader { return &contentReader{c: c} }

type contentReader struct {
	c   *content
	off uint64
}

func (r *contentReader) Read(p []byte) (int, error) {
	n, err := r.c.read(p, r.off)
	if err != nil {
		return 0, err
	}
	r.off += uint64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// close closes the scratch files. It does not remove them: the creator of the folder does.
func (s *scratch) close() error {
	var errs []error
	for _, c := range s.open {
		errs = append(errs, c.f.Close())
		c.f = nil
	}
	s.open = nil
	return errors.Join(errs...)
}
