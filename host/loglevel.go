package host

import (
	"context"
	"log/slog"
)

// demoted lowers a library's info messages to debug; warnings and errors keep their level.
type demoted struct{ slog.Handler }

func (q demoted) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, demote(l))
}

func (q demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = demote(r.Level)
	return q.Handler.Handle(ctx, r)
}

func (q demoted) WithAttrs(as []slog.Attr) slog.Handler { return demoted{q.Handler.WithAttrs(as)} }

func (q demoted) WithGroup(name string) slog.Handler { return demoted{q.Handler.WithGroup(name)} }

func demote(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}
