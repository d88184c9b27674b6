package app

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Duration is a time span that reads as Go writes it: "250ms", "5s", "24h".
type Duration time.Duration

// String formats the span as it is read: 24h0m0s is written "24h".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}

// MarshalText writes what String returns.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a span that is not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 250ms, 5s or 24h", text)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*d = Duration(v)
	return nil
}

// A Size is a number of bytes that reads as "512", "64KiB", "8MiB", "2GiB", or with powers of ten "64kB", "8MB", "2GB".
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// String formats the size with the largest unit that divides it.
func (s Size) String() string {
	if s != 0 {
		for _, u := range sizeUnits {
			if int64(s)%u.bytes == 0 && u.bytes > 1 {
				return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
			}
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes what String returns.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a size that is not negative. The letters' case does not matter.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSpace(string(text)), int64(1)
	for _, u := range sizeUnits {
		if len(number) > len(u.name) && strings.EqualFold(number[len(number)-len(u.name):], u.name) {
			number, unit = strings.TrimSpace(number[:len(number)-len(u.name)]), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || math.IsNaN(v):
		return fmt.Errorf("%q is not a size such as 512, 64KiB, 8MiB or 2GB", text)
	case v < 0:
		return fmt.Errorf("%q is negative", text)
	case v*float64(unit) >= math.MaxInt64:
		return fmt.Errorf("%q is too large", text)
	}
	*s = Size(v * float64(unit))
	return nil
}

// A Path names a file or a folder. In a configuration file it is relative to that file's folder, everywhere else to the
// working directory.
type Path string
