package dag

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// fsType is the type of a UnixFS node. See https://specs.ipfs.tech/unixfs/.
type fsType uint64

const (
	fsRaw       fsType = 0
	fsDirectory fsType = 1
	fsFile      fsType = 2
	fsMetadata  fsType = 3
	fsSymlink   fsType = 4
	fsShard     fsType = 5
)

func (t fsType) String() string {
	switch t {
	case fsRaw, fsFile:
		return "a file"
	case fsDirectory, fsShard:
		return "a directory"
	case fsSymlink:
		return "a symlink"
	case fsMetadata:
		return "metadata"
	}
	return fmt.Sprintf("a UnixFS node of type %d", uint64(t))
}

// murmur3x64 is the hash function of sharded directories, as a multihash code.
const murmur3x64 = 0x22

// fsNode is the UnixFS message inside a dag-pb block.
type fsNode struct {
	typ        fsType
	data       []byte   // a file's bytes, a symlink's target, a shard's bitfield
	fileSize   uint64   // with hasSize, the bytes of the file below this node
	hasSize    bool     //
	blockSizes []uint64 // file bytes below each link
	hashType   uint64   // of a shard
	fanout     uint64   // of a shard
}

// Fields of the UnixFS message; 7 (mode) and 8 (mtime) are accepted and ignored.
const (
	fsFieldType       = 1
	fsFieldData       = 2
	fsFieldFileSize   = 3
	fsFieldBlockSizes = 4
	fsFieldHashType   = 5
	fsFieldFanout     = 6
)

// parseFS parses a UnixFS message. Like every protobuf parser it skips unknown fields and uses the last value of a
// repeated field. Groups, which are deprecated, are malformed: their maximum nesting depends on the library.
func parseFS(b []byte) (fsNode, error) {
	var n fsNode
	haveType := false
	for len(b) > 0 {
		num, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return fsNode{}, protowire.ParseError(k)
		}
		b = b[k:]
		switch {
		case num == fsFieldData && typ == protowire.BytesType:
			n.data, k = protowire.ConsumeBytes(b)
		case num == fsFieldBlockSizes && typ == protowire.BytesType:
			var packed []byte
			if packed, k = protowire.ConsumeBytes(b); k >= 0 {
				if err := n.addPacked(packed); err != nil {
					return fsNode{}, err
				}
			}
		case num >= fsFieldType && num <= fsFieldFanout && num != fsFieldData && typ == protowire.VarintType:
			var v uint64
			if v, k = protowire.ConsumeVarint(b); k >= 0 {
				haveType = haveType || num == fsFieldType
				n.set(num, v)
			}
		case num >= fsFieldType && num <= fsFieldFanout:
			return fsNode{}, fmt.Errorf("UnixFS field %d has wire type %d", num, typ)
		case typ == protowire.StartGroupType:
			return fsNode{}, fmt.Errorf("UnixFS field %d is a group", num)
		default:
			k = protowire.ConsumeFieldValue(num, typ, b)
		}
		if k < 0 {
			return fsNode{}, protowire.ParseError(k)
		}
		b = b[k:]
	}
	if !haveType {
		return fsNode{}, errors.New("UnixFS node has no type")
	}
	return n, nil
}

func (n *fsNode) set(num protowire.Number, v uint64) {
	switch num {
	case fsFieldType:
		n.typ = fsType(v)
	case fsFieldFileSize:
		n.fileSize, n.hasSize = v, true
	case fsFieldBlockSizes:
		n.blockSizes = append(n.blockSizes, v)
	case fsFieldHashType:
		n.hashType = v
	case fsFieldFanout:
		n.fanout = v
	}
}

func (n *fsNode) addPacked(b []byte) error {
	for len(b) > 0 {
		v, k := protowire.ConsumeVarint(b)
		if k < 0 {
			return protowire.ParseError(k)
		}
		n.blockSizes = append(n.blockSizes, v)
		b = b[k:]
	}
	return nil
}

// encode encodes the message like Kubo: fields in order, data only if present, block sizes unpacked.
func (n fsNode) encode() []byte { return n.appendTo(make([]byte, 0, n.size())) }

func (n fsNode) appendTo(b []byte) []byte {
	b = appendVarintField(b, fsFieldType, uint64(n.typ))
	if n.data != nil {
		b = protowire.AppendTag(b, fsFieldData, protowire.BytesType)
		b = protowire.AppendBytes(b, n.data)
	}
	if n.hasSize {
		b = appendVarintField(b, fsFieldFileSize, n.fileSize)
	}
	for _, s := range n.blockSizes {
		b = appendVarintField(b, fsFieldBlockSizes, s)
	}
	if n.typ == fsShard {
		b = appendVarintField(b, fsFieldHashType, n.hashType)
		b = appendVarintField(b, fsFieldFanout, n.fanout)
	}
	return b
}

// size is the length of the message in bytes.
func (n fsNode) size() int {
	size := 1 + varintSize(uint64(n.typ))
	if n.data != nil {
		size += 1 + varintSize(uint64(len(n.data))) + len(n.data)
	}
	if n.hasSize {
		size += 1 + varintSize(n.fileSize)
	}
	for _, s := range n.blockSizes {
		size += 1 + varintSize(s)
	}
	if n.typ == fsShard {
		size += 1 + varintSize(n.hashType) + 1 + varintSize(n.fanout)
	}
	return size
}

// encodeAlone encodes the dag-pb block of a node without links, with one allocation.
func (n fsNode) encodeAlone() []byte {
	size := n.size()
	b := make([]byte, 0, 1+varintSize(uint64(size))+size)
	b = protowire.AppendTag(b, pbData, protowire.BytesType)
	return n.appendTo(protowire.AppendVarint(b, uint64(size)))
}

func appendVarintField(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}
