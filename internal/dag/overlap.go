package dag

import (
	"context"
	"io"
)

// overlapBuffers is how many buffers an overlap has in memory.
const overlapBuffers = 3

// overlap writes to w, in this goroutine, what produce emits in another one: one reads and
// checks while the other writes, and a few buffers serve for all. emit has fill append to an empty
// buffer, or make a larger one. overlap returns, or passes on a panic of w, when both have ended.
func overlap(ctx context.Context, w io.Writer, produce func(ctx context.Context, emit func(fill func(buf []byte) ([]byte, error)) error) error) (n int64, err error) {
	inner, cancel := context.WithCancel(ctx)
	free, full := make(chan []byte, overlapBuffers), make(chan []byte, overlapBuffers)
	for range overlapBuffers {
		free <- nil
	}
	var failed error // of produce; to be read when full is closed
	go func() {
		defer close(full)
		failed = produce(inner, func(fill func([]byte) ([]byte, error)) error {
			select {
			case buf := <-free:
				b, err := fill(buf[:0])
				if err == nil {
					full <- b // there is room: there are no more buffers than that
				}
				return err
			case <-inner.Done():
				return context.Cause(inner)
			}
		})
	}()
	defer func() {
		cancel()
		for range full { // w has panicked: the other one ends at its next buffer
		}
	}()
	for b := range full {
		if err == nil {
			var k int
			k, err = w.Write(b)
			n += int64(k)
			if err != nil {
				cancel()
			}
		}
		free <- b
	}
	if err == nil {
		err = failed
	}
	return n, err
}
