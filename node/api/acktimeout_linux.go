package api

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setAckTimeout sets how long data that was sent over c may stay unacknowledged before the kernel
// ends the connection. 0 selects the default of the system.
func setAckTimeout(c net.Conn, d time.Duration) {
	t, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := t.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		})
	}
}
