//go:build !windows

package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows on standard error how many bytes have gone by, where that is a
// terminal; else it does nothing. It may be used from several goroutines.
type progress struct {
	bar *progressbar.ProgressBar // nil: nothing is shown
}

func (p *process) progress(what string) progress {
	if !isTerminal(p.stderr) {
		return progress{}
	}
	return progress{progressbar.NewOptions64(-1,
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

func (g progress) add(bytes int64) {
	if g.bar != nil {
		g.bar.Add64(bytes)
	}
}

// Write counts b.
func (g progress) Write(b []byte) (int, error) {
	g.add(int64(len(b)))
	return len(b), nil
}

// reader returns r, whose bytes are counted.
func (g progress) reader(r io.Reader) io.Reader {
	if g.bar == nil {
		return r
	}
	return io.TeeReader(r, g)
}

// Close takes the display away; it may be called twice.
func (g progress) Close() error {
	if g.bar == nil {
		return nil
	}
	return g.bar.Finish()
}
