package segment

// starter is a File that can begin to write a range back to the disk without waiting for it.
type starter interface{ StartWriteback(off, n int64) }

// reserver is a File that can take room behind its end, which what is written there then has at once. Truncate gives
// back what was not used.
type reserver interface{ Reserve(off, n int64) }

// puncher is a File that can give back the room of a range, which then reads as zeros.
type puncher interface{ PunchHole(off, n int64) error }
