package abi

import "strconv"

// Errno is an error that a host call answers, negated. The list is append-only.
type Errno int32

// The error numbers.
const (
	INVAL   Errno = 1  // an argument that can never be right
	FAULT   Errno = 2  // [ptr, ptr+len) is not inside the guest's memory
	BADF    Errno = 3  // no such handle, or of the wrong sort
	NOLINK  Errno = 4  // not a link of what the guest holds; the same whether or not the host has the block
	CID     Errno = 5  // not a CID
	CODEC   Errno = 6  // a codec or hash function that is not served
	FORMAT  Errno = 7  // the block's bytes are not what its codec says
	TOOBIG  Errno = 8  // a block over MaxBlockWrite
	MFILE   Errno = 9  // MaxHandles live handles already
	NOENT   Errno = 10 // no such entry
	NOTDIR  Errno = 11 // not a directory
	NOTFILE Errno = 12 // not a file
	RANGE   Errno = 13 // an index past the end
	STATE   Errno = 15 // a call that cannot come now
)

var errnoNames = map[Errno]string{
	INVAL: "INVAL", FAULT: "FAULT", BADF: "BADF", NOLINK: "NOLINK", CID: "CID", CODEC: "CODEC", FORMAT: "FORMAT",
	TOOBIG: "TOOBIG", MFILE: "MFILE", NOENT: "NOENT", NOTDIR: "NOTDIR", NOTFILE: "NOTFILE", RANGE: "RANGE", STATE: "STATE",
}

// String returns the error's name, as docs/abi.md writes it.
func (e Errno) String() string {
	if s, ok := errnoNames[e]; ok {
		return s
	}
	return "errno " + strconv.Itoa(int(e))
}

func (e Errno) Error() string { return e.String() }
