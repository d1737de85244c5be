//go:build !windows

package main

import (
	"fmt"
	"net"
	"strings"
)

// notify sends the state of the process to the service manager, as in sd_notify(3): a
// datagram to the socket NOTIFY_SOCKET; a leading "@" stands for the abstract namespace.
// Without the variable it does nothing.
func (p *process) notify(state string) error {
	path := p.getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if rest, abstract := strings.CutPrefix(path, "@"); abstract {
		path = "\x00" + rest
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}
