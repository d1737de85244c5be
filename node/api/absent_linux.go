package api

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setAbsentTime says how long what is sent over c may go without an acknowledgement; 0:
// as long as the system has it.
func setAbsentTime(c net.Conn, d time.Duration) {
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
