//go:build !linux

package api

import (
	"net"
	"time"
)

// setAbsentTime does nothing: what is not acknowledged is given up when the system says
// so, after some minutes. Keep-alives are the same everywhere.
func setAbsentTime(net.Conn, time.Duration) {}
