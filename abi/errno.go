package abi

import "strconv"

// Errno is an error number that a host call returns, negated. The list is append-only.
type Errno int32

// The error numbers.
const (
	INVAL   Errno = 1  // an argument that is never valid
	FAULT   Errno = 2  // [ptr, ptr+len) is not inside the guest's memory
	BADF    Errno = 3  // no such handle, or of the wrong kind
	NOLINK  Errno = 4  // not a link of an object that the guest holds; does not depend on the host having the block
	CID     Errno = 5  // not a CID
	CODEC   Errno = 6  // an unsupported codec or hash function
	FORMAT  Errno = 7  // the block's bytes are not valid for its codec
	TOOBIG  Errno = 8  // a block over MaxBlockWrite
	MFILE   Errno = 9  // MaxHandles live handles already
	NOENT   Errno = 10 // no such entry
	NOTDIR  Errno = 11 // not a directory
	NOTFILE Errno = 12 // not a file
	RANGE   Errno = 13 // an index beyond the end
	STATE   Errno = 15 // a call that is not allowed in the current state
)

var errnoNames = map[Errno]string{
	INVAL: "INVAL", FAULT: "FAULT", BADF: "BADF", NOLINK: "NOLINK", CID: "CID", CODEC: "CODEC", FORMAT: "FORMAT",
	TOOBIG: "TOOBIG", MFILE: "MFILE", NOENT: "NOENT", NOTDIR: "NOTDIR", NOTFILE: "NOTFILE", RANGE: "RANGE", STATE: "STATE",
}

// String returns the error's name, as in docs/abi.md.
func (e Errno) String() string {
	if s, ok := errnoNames[e]; ok {
		return s
	}
	return "errno " + strconv.Itoa(int(e))
}

func (e Errno) Error() string { return e.String() }
