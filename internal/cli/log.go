package cli

import (
	"io"
	"log/slog"

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
