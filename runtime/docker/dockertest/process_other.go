//go:build !linux

package dockertest

import "syscall"

func sysProcAttr() *syscall.SysProcAttr { return nil }

func unmountBelow(string) {}

func killOf(string) {}
