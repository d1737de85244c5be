package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is below what every system's sockaddr_un holds (104 to 108 bytes).
const maxSocketPath = 100

// ErrSocketPath says that no socket can be made or reached because its path is too long.
var ErrSocketPath = errors.New("the path is too long for a socket: put the repo at a shorter one")

// Listen makes the socket at path, for this user alone, and replaces one that a
// process which is no more has left there: the caller must know that there is no
// other owner. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	dir, release, err := shorten(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer release()
	// Bound under another name and renamed, the socket is never seen with other
	// permissions than its last ones, and a stale one never in its place.
	name := filepath.Base(path)
	fresh := filepath.Join(dir, name+".new")
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(fresh, 0o600); err == nil {
		err = os.Rename(fresh, filepath.Join(dir, name))
	}
	if err != nil {
		l.Close()
		os.Remove(fresh)
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &listener{UnixListener: l, path: path}, nil
}

type listener struct {
	*net.UnixListener
	path string
}

func (l *listener) Close() error {
	os.Remove(l.path) // a second Close finds nothing; a stale socket does no harm
	return l.UnixListener.Close()
}

func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	dir, release, err := shorten(path)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", path, err)
	}
	defer release()
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join(dir, filepath.Base(path)))
}
