package dag

import (
	"context"
	"io"
)

// overlapBuffers is how many buffers overlap uses.
const overlapBuffers = 3

// overlap writes to w, in this goroutine, the buffers that produce emits in another one: reading and checking overlap
// with writing, and a few buffers are reused. emit calls fill, which appends to an empty buffer or allocates a larger
// one. When overlap returns, or passes on a panic of w, both goroutines have finished.
func overlap(ctx context.Context, w io.Writer, produce func(ctx context.Context, emit func(fill func(buf []byte) ([]byte, error)) error) error) (n int64, err error) {
	inner, cancel := context.WithCancel(ctx)
	free, full := make(chan []byte, overlapBuffers), make(chan []byte, overlapBuffers)
	for range overlapBuffers {
		free <- nil
	}
	var failed error // of produce; read it only after full is closed
	go func() {
		defer close(full)
		failed = produce(inner, func(fill func([]byte) ([]byte, error)) error {
			select {
			case buf := <-free:
				b, err := fill(buf[:0])
				if err == nil {
					full <- b // never blocks: full has room for all buffers
				}
				return err
			case <-inner.Done():
				return context.Cause(inner)
			}
		})
	}()
	defer func() {
		cancel()
		for range full { // w has panicked: the producer ends at its next buffer
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
