package raft

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// logAdapter gives what raft logs to a slog.Logger.
type logAdapter struct {
	to      *slog.Logger
	name    string
	implied []any
	// failed, when not nil, is told when the write-ahead log could not start its next file.
	failed func(error)
}

var _ hclog.Logger = (*logAdapter)(nil)

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Trace, hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn, hclog.Error: // such as a member that cannot be reached; what ends a node, it logs itself
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (a *logAdapter) Log(level hclog.Level, msg string, args ...any) {
	a.to.Log(context.Background(), slogLevel(level), msg, args...)
}

func (a *logAdapter) Trace(msg string, args ...any) { a.Log(hclog.Trace, msg, args...) }
func (a *logAdapter) Debug(msg string, args ...any) { a.Log(hclog.Debug, msg, args...) }
func (a *logAdapter) Warn(msg string, args ...any)  { a.Log(hclog.Warn, msg, args...) }

func (a *logAdapter) Error(msg string, args ...any) {
	a.Log(hclog.Error, msg, args...)
	if a.failed == nil || msg != "rotate error" {
		return
	}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			a.failed(err)
		}
	}
}

// Info logs at debug level: what raft deems worth telling about each election and snapshot is of no
// interest to the user of a program with a store in it.
func (a *logAdapter) Info(msg string, args ...any) { a.Log(hclog.Debug, msg, args...) }

func (a *logAdapter) enabled(l hclog.Level) bool {
	return a.to.Enabled(context.Background(), slogLevel(l))
}

func (a *logAdapter) IsTrace() bool { return a.enabled(hclog.Trace) }
func (a *logAdapter) IsDebug() bool { return a.enabled(hclog.Debug) }
func (a *logAdapter) IsInfo() bool  { return a.enabled(hclog.Debug) }
func (a *logAdapter) IsWarn() bool  { return a.enabled(hclog.Warn) }
func (a *logAdapter) IsError() bool { return a.enabled(hclog.Error) }

func (a *logAdapter) ImpliedArgs() []any { return a.implied }

func (a *logAdapter) With(args ...any) hclog.Logger {
	implied := append(append([]any(nil), a.implied...), args...)
	return &logAdapter{to: a.to.With(args...), name: a.name, implied: implied, failed: a.failed}
}

func (a *logAdapter) Name() string { return a.name }

func (a *logAdapter) Named(name string) hclog.Logger {
	if a.name != "" {
		name = a.name + "." + name
	}
	return a.ResetNamed(name)
}

func (a *logAdapter) ResetNamed(name string) hclog.Logger {
	return &logAdapter{to: a.to, name: name, implied: a.implied, failed: a.failed}
}

// SetLevel does nothing: the level is the slog handler's.
func (a *logAdapter) SetLevel(hclog.Level) {}

func (a *logAdapter) GetLevel() hclog.Level {
	for _, l := range []hclog.Level{hclog.Debug, hclog.Warn} {
		if a.enabled(l) {
			return l
		}
	}
	return hclog.Error
}

func (a *logAdapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(a.to.Handler(), slog.LevelDebug)
}

func (a *logAdapter) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	return a.StandardLogger(opts).Writer()
}
