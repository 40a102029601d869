package embedded

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logger passes the server's log on. The server's notices are of no interest while all is well.
type logger struct {
	to *slog.Logger

	mu    sync.Mutex
	fatal string
}

func (l *logger) Noticef(format string, v ...any) { l.to.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.to.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Tracef(format string, v ...any)  { l.to.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Errorf(format string, v ...any)  { l.to.Error(fmt.Sprintf(format, v...)) }

func (l *logger) Warnf(format string, v ...any) {
	l.to.Warn(strings.TrimSpace(fmt.Sprintf(format, v...)))
}

// Fatalf keeps the first reason for which the server cannot run: Start reports it.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		l.fatal = fmt.Sprintf(format, v...)
	}
}

func (l *logger) fatalReason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
