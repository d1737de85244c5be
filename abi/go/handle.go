package liftoff

import (
	"iter"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Handle refers to an object that the guest was given or created. Numbers are
// sequential and never reused; at most abi.MaxHandles are live at once.
type Handle uint32

// Kind is the kind of an object, for programs that read files.
type Kind int

// The kinds.
const (
	Raw       Kind = abi.KindRaw // a raw block, which is also a file of one leaf
	File      Kind = abi.KindFile
	Directory Kind = abi.KindDirectory
	Symlink   Kind = abi.KindSymlink
	Other     Kind = abi.KindOther
)

// InputCount returns the number of the Task's inputs.
func InputCount() int { return int(hostInputCount()) }

// Input returns the handle of the i-th input. It always succeeds; the first use of a
// handle that does not exist is an error.
func Input(i int) Handle { return Handle(i) }

// InputName returns the name of the i-th input, which may be "".
func InputName(i int) (string, error) {
	b, err := text("input_name", func(p []byte) int64 { return hostInputName(uint32(i), ptr(p), size(p)) })
	return string(b), err
}

// Inputs yields the name and handle of each input, in the Task's order.
func Inputs() iter.Seq2[string, Handle] {
	return func(yield func(string, Handle) bool) {
		for i := range InputCount() {
			name, err := InputName(i)
			if err != nil {
				panic(err) // the index is below the count
			}
			if !yield(name, Input(i)) {
				return
			}
		}
	}
}

// CID returns the CID of the block that h refers to.
func (h Handle) CID() (CID, error) {
	b, err := text("cid", func(p []byte) int64 { return hostCID(uint32(h), ptr(p), size(p)) })
	return CID(b), err
}

// Codec returns the multicodec of the block: [CodecRaw], [CodecDagPB], …
func (h Handle) Codec() (Codec, error) {
	n, err := check("codec", hostCodec(uint32(h)))
	return Codec(n), err
}

// Kind returns the kind of the object.
func (h Handle) Kind() (Kind, error) {
	n, err := check("kind", hostKind(uint32(h)))
	return Kind(n), err
}

// Close frees the host's memory for h. The object itself is not changed.
func (h Handle) Close() error {
	_, err := check("close", hostClose(uint32(h)))
	return err
}

// Output makes h part of the run's output: under the name "" it is the whole output,
// otherwise name is a path in one directory. All of it is discarded unless the run
// succeeds.
func (h Handle) Output(name string) error {
	p := []byte(name)
	_, err := check("output", hostOutput(uint32(h), ptr(p), size(p)))
	return err
}
