package segment

// starter is a File that can begin to write a range back to the disk without waiting for it.
type starter interface{ StartWriteback(off, n int64) }

// reserver is a File that can take room behind its end, which what is written there then has at once. Truncate gives
// back what was not used.
type reserver interface{ Reserve(off, n int64) }

// puncher is a File that can give back the room of a range, which then reads as zeros.
type puncher interface{ PunchHole(off, n int64) error }

// sparseFile is a File that knows how much of the disk it takes.
type sparseFile interface{ Allocated() (int64, error) }

// holesOf returns how many of the first size bytes of f take nothing of the disk. It is a lower bound: room behind them
// counts for them.
func holesOf(f any, size int64) (int64, error) {
	s, ok := f.(sparseFile)
	if !ok {
		return 0, nil
	}
	allocated, err := s.Allocated()
	return max(0, size-allocated), err
}
