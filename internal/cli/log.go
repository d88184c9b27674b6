package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/millrace/millrace/internal/app"
)

// newLogger returns the log that a valid configuration asks for.
func newLogger(c app.LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validate let only known words through
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// notice tells the user what a command found out.
func (c *command) notice(msg string, warning bool) {
	if warning {
		msg = "warning: " + msg
	}
	c.warn(msg)
}

// notices is a log whose lines are for a person who runs one command: without time and level. It is for one goroutine.
type notices struct {
	c     *command
	attrs []slog.Attr
}

func (n *notices) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (n *notices) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	add := func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true }
	for _, a := range n.attrs {
		add(a)
	}
	r.Attrs(add)
	n.c.notice(b.String(), r.Level >= slog.LevelWarn)
	return nil
}

func (n *notices) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &notices{c: n.c, attrs: append(n.attrs[:len(n.attrs):len(n.attrs)], attrs...)}
}

// WithGroup leaves groups out: no line that comes here has one.
func (n *notices) WithGroup(string) slog.Handler { return n }
