//go:build !windows

package main

import (
	"io"
	"sync"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/schollz/progressbar/v3"
)

// display shows on standard error how many bytes were processed. Short operations show
// nothing, and a nil display never does. It is safe for concurrent use.
type display struct {
	what  string
	w     io.Writer
	since time.Time

	mu    sync.Mutex
	bytes int64
	bar   *progressbar.ProgressBar // nil until showAfter, and after Close
	ended bool
}

// showAfter is the time after which a display appears.
const showAfter = 300 * time.Millisecond

// progress returns a display if standard error is a terminal, else nil.
func (p *process) progress(what string) *display {
	if !ui.CanRedraw(p.stderr, p.getenv) {
		return nil
	}
	return &display{what: what, w: p.stderr, since: time.Now()}
}

func (d *display) add(bytes int64) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes += bytes
	if d.ended || time.Since(d.since) < showAfter {
		return
	}
	if d.bar == nil {
		d.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetDescription(d.what),
			progressbar.OptionSetWriter(d.w),
			progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	d.bar.Set64(d.bytes)
}

// Write counts b.
func (d *display) Write(b []byte) (int, error) {
	d.add(int64(len(b)))
	return len(b), nil
}

// reader returns r with its bytes counted.
func (d *display) reader(r io.Reader) io.Reader {
	if d == nil {
		return r
	}
	return io.TeeReader(r, d)
}

// Close removes the display. It may be called twice.
func (d *display) Close() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.bar == nil {
		return nil
	}
	bar := d.bar
	d.bar = nil
	return bar.Finish()
}
