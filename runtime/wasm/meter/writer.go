package meter

// appendU appends v as unsigned LEB128, in its shortest form.
func appendU(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendS appends v as signed LEB128, in its shortest form.
func appendS(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// appendName appends s preceded by its length.
func appendName(b []byte, s string) []byte {
	return append(appendU(b, uint64(len(s))), s...)
}

// appendSection appends a section, unless it is empty.
func appendSection(b []byte, id byte, content []byte) []byte {
	if len(content) == 0 {
		return b
	}
	b = append(b, id)
	b = appendU(b, uint64(len(content)))
	return append(b, content...)
}
