//go:build !amd64

package crc32c

const fast = false

func update(uint32, []byte) uint32 { panic("crc32c: this processor is not supported") }
