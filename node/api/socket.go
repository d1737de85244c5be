package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is below the sockaddr_un limit of every system (104 to 108 bytes).
const maxSocketPath = 100

// ErrSocketPath means that the path is too long for a Unix socket.
var ErrSocketPath = errors.New("path too long for a Unix socket: move the repo to a shorter path")

// Listen creates the Unix socket at path, with access for this user alone. It replaces a socket
// that a dead process left there: the caller must know that no other owner exists. Closing the
// listener removes the socket.
func Listen(path string) (net.Listener, error) {
	dir, release, err := shorten(path)
	if err != nil {
		return nil, fmt.Errorf("listen on repo socket %s: %w", path, err)
	}
	defer release()
	// The socket is bound under another name and then renamed, so that it is never visible with
	// other permissions than its final ones and a stale one never takes its place.
	name := filepath.Base(path)
	fresh := filepath.Join(dir, name+".new")
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("listen on repo socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on repo socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(fresh, 0o600); err == nil {
		err = os.Rename(fresh, filepath.Join(dir, name))
	}
	if err != nil {
		l.Close()
		os.Remove(fresh)
		return nil, fmt.Errorf("listen on repo socket %s: %w", path, err)
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
		return nil, fmt.Errorf("dial repo socket %s: %w", path, err)
	}
	defer release()
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join(dir, filepath.Base(path)))
}
