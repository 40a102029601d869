package containerd

import (
	"context"
	"io"
	"log/slog"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// clientLog has containerd's client log its warnings and errors to ours, and nothing to standard error.
func clientLog(to *slog.Logger) *log.Entry {
	l := logrus.New()
	l.Out = io.Discard
	l.Level = logrus.WarnLevel
	l.AddHook(forward{to})
	return logrus.NewEntry(l)
}

type forward struct{ to *slog.Logger }

func (forward) Levels() []logrus.Level { return logrus.AllLevels }

func (f forward) Fire(e *logrus.Entry) error {
	level := slog.LevelWarn
	if e.Level <= logrus.ErrorLevel {
		level = slog.LevelError
	}
	attrs := make([]slog.Attr, 0, len(e.Data))
	for key, value := range e.Data {
		attrs = append(attrs, slog.Any(key, value))
	}
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	f.to.LogAttrs(ctx, level, e.Message, attrs...)
	return nil
}
