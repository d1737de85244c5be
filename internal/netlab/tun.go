//go:build linux

package netlab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// device is the name of every host's TUN device.
const device = "lab0"

// vnetHeader is the length of the header before each packet, a struct virtio_net_hdr. It says
// how to segment a packet larger than the MTU, which no kernel on the path has to do: what one
// device sends, another one accepts. Without this a lab would be slower than what it measures.
const vnetHeader = 10

// openTUN creates a TUN device in a namespace and returns it; packets are IP packets after a
// vnetHeader. A device belongs to the namespace in which it was created; its file works from
// any.
func openTUN(ns string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result)
	go func() {
		// The thread changes its namespace and stays locked: it ends with the goroutine.
		runtime.LockOSThread()
		f, err := openTUNHere(ns)
		done <- result{f, err}
	}()
	r := <-done
	return r.file, r.err
}

func openTUNHere(ns string) (*os.File, error) {
	nsFile, err := os.Open("/var/run/netns/" + ns)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	defer nsFile.Close()
	if err := unix.Setns(int(nsFile.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter namespace %s: %w", ns, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(device)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		const tcp = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
		// Kernels before 6.2 do not support this for UDP.
		if err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp|unix.TUN_F_USO4|unix.TUN_F_USO6); err != nil {
			err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("create TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), "tun "+ns), nil
}
