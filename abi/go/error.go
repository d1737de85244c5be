package liftoff

import (
	"fmt"
	"io/fs"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Error is the error of a host call. errors.Is finds the [abi.Errno] in it, and
// fs.ErrNotExist in the errno NOENT.
type Error struct {
	Call  string // the ABI's name of the call
	Errno abi.Errno
}

func (e *Error) Error() string { return fmt.Sprintf("liftoff: %s: %s", e.Call, e.Errno) }

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Is maps the errno to the errors of io/fs.
func (e *Error) Is(target error) bool {
	return target == fs.ErrNotExist && e.Errno == abi.NOENT
}

// check splits the return value of a host call into an answer and an error.
func check(call string, r int64) (int64, error) {
	if r < 0 {
		return 0, &Error{Call: call, Errno: abi.Errno(-r)}
	}
	return r, nil
}

// text calls f, which copies a string into p and returns its whole length, with a
// buffer that is large enough.
func text(call string, f func(p []byte) int64) ([]byte, error) {
	p := make([]byte, 256)
	for {
		n, err := check(call, f(p))
		if err != nil {
			return nil, err
		}
		if n <= int64(len(p)) {
			return p[:n], nil
		}
		p = make([]byte, n)
	}
}
