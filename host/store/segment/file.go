package segment

// starter is a File that can start to write a range back to disk without waiting for it.
type starter interface{ StartWriteback(off, n int64) }

// reserver is a File that can preallocate disk space behind its end. Truncate frees the unused part.
type reserver interface{ Reserve(off, n int64) }

// puncher is a File that can free the disk space of a range, which then reads as zeros.
type puncher interface{ PunchHole(off, n int64) error }

// sparseFile is a File that reports how much disk space it uses.
type sparseFile interface{ Allocated() (int64, error) }

// holesOf returns how many of the first size bytes of f use no disk space. It is a lower bound: space preallocated
// behind them counts against them.
func holesOf(f any, size int64) (int64, error) {
	s, ok := f.(sparseFile)
	if !ok {
		return 0, nil
	}
	allocated, err := s.Allocated()
	return max(0, size-allocated), err
}
