package plugin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// Limits on the events of a stream that carry no output of the guest; the log limit bounds
// those that do.
const (
	eventBurst = 10_000
	eventRate  = 1_000 // a second
)

// events reads the event stream of a run.
type events struct {
	r     *bufio.Reader
	begin time.Time
	small int
}

func newEvents(r io.Reader) *events {
	return &events{r: bufio.NewReaderSize(r, wire.MaxEvent), begin: time.Now()}
}

// next returns the next event, which has exactly one kind. The end of the stream is an error:
// an event that ends the run has to come first.
func (e *events) next() (wire.Event, error) {
	line, err := e.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return wire.Event{}, fmt.Errorf("plugin event: line longer than %d bytes", wire.MaxEvent)
	case errors.Is(err, io.EOF):
		return wire.Event{}, errors.New("plugin closed the event stream before the run ended")
	case err != nil:
		return wire.Event{}, fmt.Errorf("read plugin events: %w", err)
	}
	var ev wire.Event
	if err := json.Unmarshal(line, &ev); err != nil {
		return wire.Event{}, fmt.Errorf("malformed plugin event: %w", err)
	}
	kinds := 0
	for _, is := range []bool{
		len(ev.Stdout) > 0, len(ev.Stderr) > 0, ev.Progress != nil, ev.End != nil, ev.Refused != "", ev.Error != "",
	} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return wire.Event{}, fmt.Errorf("plugin event: got %d kinds, want 1", kinds)
	}
	if ev.Progress == nil {
		return ev, nil
	}
	if e.small++; e.small > eventBurst && float64(e.small-eventBurst) > eventRate*time.Since(e.begin).Seconds() {
		return wire.Event{}, fmt.Errorf("flood of plugin events: %d events without output", e.small)
	}
	return ev, nil
}

// log is one of the guest's output streams: passed on live, and stored.
type log struct {
	live io.Writer // nil: not followed
	file *dag.FileWriter
	err  error // the first
}

func newLog(ctx context.Context, bs dag.Blocks, live io.Writer) *log {
	return &log{live: live, file: dag.NewFileWriter(ctx, bs, outProfile)}
}

func (l *log) write(b []byte) {
	if len(b) == 0 {
		return
	}
	if l.live != nil {
		if _, l.err = l.live.Write(b); l.err != nil {
			return
		}
	}
	_, l.err = l.file.Write(b)
}

// finish returns the stored file, or cid.Undef if it is empty.
func (l *log) finish() (cid.Cid, error) {
	if l.err != nil || l.file.Size() == 0 {
		return cid.Undef, l.err
	}
	e, err := l.file.Finish()
	return e.CID, err
}
