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
	"strconv"
	"strings"
	"sync/atomic"
)

// A pin's file is two lines: the Pin as JSON, and the SHA-256 of that line in hex. One
// flipped bit in a CID would otherwise name another block, and the right one would be
// collected. The file is named after the SHA-256 of the pin's name, which may hold
// anything that a file name may not.
const (
	pinSuffix  = ".pin"
	maxPinFile = 16 << 20
)

// pinTemps numbers temporary files.
var pinTemps atomic.Uint64

func (s *Store) pinPath(name string) string {
	return filepath.Join(s.dir, pinsDir, hexSum([]byte(name))+pinSuffix)
}

func (s *Store) writePin(p Pin) error {
	line, err := json.Marshal(p)
	if err != nil {
		return err
	}
	data := fmt.Appendf(nil, "%s\n%s\n", line, hexSum(line))
	if len(data) > maxPinFile {
		return fmt.Errorf("it takes %d bytes, at most %d are kept", len(data), maxPinFile)
	}
	temp := filepath.Join(s.dir, pinsDir, tempDir, strconv.FormatUint(pinTemps.Add(1), 36))
	return replaceFile(s.pinPath(p.Name), temp, data)
}

// removePins removes the files of pins. The error is fs.ErrNotExist when one of them
// was not there; the others are gone all the same.
func (s *Store) removePins(pins ...Pin) error {
	var missing error
	for _, p := range pins {
		switch err := os.Remove(s.pinPath(p.Name)); {
		case absent(err):
			missing = err
		case err != nil:
			return fmt.Errorf("remove pin %q: %w", p.Name, err)
		}
	}
	if err := fsync(filepath.Join(s.dir, pinsDir)); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return missing
}

// readPins returns every pin, expired ones too. What is not a pin's file is an error:
// it may be one that was renamed, and what it keeps must not be lost.
func (s *Store) readPins() ([]Pin, error) {
	dir := filepath.Join(s.dir, pinsDir)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	var pins []Pin
	for _, e := range list {
		if e.Name() == tempDir || strings.HasPrefix(e.Name(), ".") { // desktops leave such files everywhere
			continue
		}
		p, err := s.readPin(filepath.Join(dir, e.Name()))
		if absent(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		pins = append(pins, p)
	}
	return s.readLedgerPins(pins)
}

func (s *Store) readPin(path string) (Pin, error) {
	f, err := os.Open(path)
	if err != nil {
		return Pin{}, fmt.Errorf("read pin: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPinFile+1))
	if err != nil {
		return Pin{}, fmt.Errorf("read pin: %w", err)
	}
	line, sum, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(sum) != hexSum(line)+"\n" {
		return Pin{}, &PinError{path, "its checksum does not match"}
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
	if s.pinPath(p.Name) != path {
		return Pin{}, &PinError{path, fmt.Sprintf("it is not the file of pin %q", p.Name)}
	}
	return p, nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
