package wasm

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"

	"golang.org/x/sync/errgroup"
)

// sealer authenticates large files that have to be read fast: each chunk of a file has its own
// seal, so that all processors check chunks in parallel. A seal is AES-GCM with the chunk as
// its additional data (GMAC, several times as fast as a hash); it encrypts the chunk's label,
// its index, and the number of chunks.
type sealer struct{ aead cipher.AEAD }

// sealChunk is the size of a chunk, in bytes.
const sealChunk = 256 << 10

func newSealer(key [keyBytes]byte) (*sealer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

// sealSize returns the size of one seal: a nonce, the encrypted content, and a tag.
func (s *sealer) sealSize(label string) int { return s.aead.Overhead() + len(label) + 16 }

// seal returns the seals of file under label, which is not secret.
func (s *sealer) seal(label string, file *os.File) ([]byte, error) {
	n, err := chunks(file)
	if err != nil {
		return nil, err
	}
	size := s.sealSize(label)
	seals := make([]byte, n*size)
	err = eachChunk(file, n, func(i int, chunk []byte) error {
		s.aead.Seal(seals[i*size:i*size], nil, chunkLabel(label, i, n), chunk)
		return nil
	})
	return seals, err
}

// errSeal says that a file is not the sealed one.
var errSeal = errors.New("compiled module does not match its seal (MAC)")

// check returns errSeal unless seals were made by seal for the same label and file.
func (s *sealer) check(seals []byte, label string, file *os.File) error {
	n, err := chunks(file)
	if err != nil {
		return err
	}
	size := s.sealSize(label)
	if len(seals) != n*size {
		return errSeal
	}
	return eachChunk(file, n, func(i int, chunk []byte) error {
		got, err := s.aead.Open(nil, nil, seals[i*size:(i+1)*size], chunk)
		if err != nil || string(got) != string(chunkLabel(label, i, n)) {
			return errSeal
		}
		return nil
	})
}

func chunkLabel(label string, i, n int) []byte { return fmt.Appendf(nil, "%s%08x%08x", label, i, n) }

// chunks returns the number of chunks of file; an empty one has one.
func chunks(file *os.File) (int, error) {
	fi, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return int(max(1, (fi.Size()+sealChunk-1)/sealChunk)), nil
}

// eachChunk calls f for each of n chunks, from several goroutines.
func eachChunk(file *os.File, n int, f func(i int, chunk []byte) error) error {
	var g errgroup.Group
	workers := min(goruntime.GOMAXPROCS(0), n)
	for w := range workers {
		g.Go(func() error {
			buf := make([]byte, sealChunk)
			for i := w; i < n; i += workers {
				got, err := file.ReadAt(buf, int64(i)*sealChunk)
				if err != nil && err != io.EOF {
					return err
				}
				if err := f(i, buf[:got]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
