package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// pinFiles is a folder of pins in the old format, one file per pin, as written by earlier versions of liftoff.
// Nothing is added to it, and the first Open for writing moves its pins to the ledger. Files that remain are damaged.
//
// A pin file has two lines: the Pin as JSON, and the SHA-256 of that line in hex. Its name is the SHA-256 of the
// pin's name.
type pinFiles struct{ dir string }

const (
	pinSuffix  = ".pin"
	maxPinFile = maxPin + 66 // with a checksum and two newlines
)

func (f pinFiles) path(name string) string {
	return filepath.Join(f.dir, hexSum([]byte(name))+pinSuffix)
}

// each calls fn for every file until fn returns an error, which each returns. A file that is not a pin file is a
// *PinError: it may be a renamed pin file.
func (f pinFiles) each(fn func(path string, p Pin, err error) error) error {
	list, err := os.ReadDir(f.dir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pins: %w", err)
	}
	for _, e := range list {
		if e.Name() == tempDir || strings.HasPrefix(e.Name(), ".") { // desktop environments create such files
			continue
		}
		path := filepath.Join(f.dir, e.Name())
		p, err := f.read(path)
		if absent(err) {
			continue // removed in the meantime
		}
		if err := fn(path, p, err); err != nil {
			return err
		}
	}
	return nil
}

// find returns the pin with that name; the error is fs.ErrNotExist if it does not exist.
func (f pinFiles) find(name string) (Pin, error) { return f.read(f.path(name)) }

// remove removes the file of a pin, intact or not, and reports whether it existed.
func (f pinFiles) remove(name string) (found bool, err error) {
	err = os.Remove(f.path(name))
	if absent(err) {
		return false, nil
	}
	if err == nil {
		err = fsync(f.dir)
	}
	return true, err
}

func (f pinFiles) read(path string) (Pin, error) {
	file, err := os.Open(path)
	if err != nil {
		return Pin{}, fmt.Errorf("read pin: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxPinFile+1))
	if err != nil {
		return Pin{}, fmt.Errorf("read pin: %w", err)
	}
	line, sum, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(sum) != hexSum(line)+"\n" {
		return Pin{}, &PinError{path, "checksum of pin does not match"}
	}
	var p Pin
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Pin{}, &PinError{path, err.Error()}
	}
	if err := p.check(); err != nil {
		return Pin{}, &PinError{path, err.Error()}
	}
	if f.path(p.Name) != path {
		return Pin{}, &PinError{path, fmt.Sprintf("file name does not match pin %q", p.Name)}
	}
	return p, nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
