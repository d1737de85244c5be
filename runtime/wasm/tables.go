package wasm

import "github.com/ipfs-liftoff/liftoff/runtime"

// closeTables returns module b with a maximum for every table that has none: a guest could grow
// it without end, and no limit of a run counts tables. Growing beyond the maximum returns -1,
// as the specification allows; the maximum is a function of the module alone. If every table
// has a maximum, it returns b itself.
func closeTables(b []byte, s *scan) ([]byte, error) {
	if !s.openTable {
		return b, nil
	}
	r := &reader{b: b[s.tableSec[0]:s.tableSec[1]]}
	r.byte()
	r.u32()
	n := r.u32()
	sec := appendU32(nil, n)
	for range n {
		sec = append(sec, r.byte())
		least, most, bounded := r.limits()
		if !bounded {
			most = maxTableEntries + uint32(len(s.funcs))
		}
		sec = appendU32(appendU32(append(sec, 1), least), most)
	}
	if r.err != nil {
		return nil, runtime.Refusef("not a valid module: %v", r.err)
	}
	out := make([]byte, 0, len(b)+len(sec)+8)
	out = append(out, b[:s.tableSec[0]]...)
	out = append(out, sectionTable)
	out = appendU32(out, uint32(len(sec)))
	out = append(out, sec...)
	return append(out, b[s.tableSec[1]:]...), nil
}

// appendU32 appends v as an unsigned LEB128.
func appendU32(b []byte, v uint32) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}
