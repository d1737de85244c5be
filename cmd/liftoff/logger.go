//go:build !windows

package main

import (
	"io"
	"log/slog"
)

// newLogger returns the logger of serve. Under systemd the journal adds its own time stamps.
func newLogger(w io.Writer, format, level string) *slog.Logger {
	o := &slog.HandlerOptions{}
	switch level {
	case "debug":
		o.Level = slog.LevelDebug
	case "warn":
		o.Level = slog.LevelWarn
	case "error":
		o.Level = slog.LevelError
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
