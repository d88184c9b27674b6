package name_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/store/internal/name"
)

func TestNames(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, key := range []string{"a", "user-1", "a/../b", ".", "..", "/", "\x00", "\xff", "ü", string(every), strings.Repeat("\x00", 1024), strings.Repeat("a", 257)} {
		got := name.Of(key)
		if len(got) > name.MaxBytes || strings.Trim(got, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.=_~") != "" {
			t.Errorf("%q: %q", key, got)
		}
		back, whole, err := name.Key(got)
		if err != nil || whole != (len(key) <= 256) || !strings.HasPrefix(key, back) || whole && back != key {
			t.Errorf("%q: %q gives %q, %v, %v", key, got, back, whole, err)
		}
	}
	if got := name.Of("user-1:a_b"); got != "user-2D1=3Aa_5Fb" {
		t.Errorf("the format of names has changed: %q", got)
	}
}

// Keys that begin alike and differ at the cut come up too, by a short alphabet and long runs.
var keys = rapid.Custom(func(t *rapid.T) string {
	start := strings.Repeat(rapid.SampledFrom([]string{"a", "\x00", "\xff", "-"}).Draw(t, "run"), rapid.SampledFrom([]int{0, 1, 254, 255, 256, 300}).Draw(t, "length"))
	end := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte("\x00\xff-./0aZ~_=a")), rapid.Byte()), 1, 8).Draw(t, "end")
	return start + string(end)
})

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := keys.Draw(t, "a"), keys.Draw(t, "b")
		if a == b != (name.Of(a) == name.Of(b)) {
			t.Fatalf("%q and %q have the names %q and %q", a, b, name.Of(a), name.Of(b))
		}
		alike := len(a) > 256 && len(b) > 256 && a[:256] == b[:256]
		if !alike && (a < b) != (name.Of(a) < name.Of(b)) {
			t.Fatalf("%q and %q have the names %q and %q", a, b, name.Of(a), name.Of(b))
		}
		if strings.HasPrefix(a, b) && !strings.HasPrefix(name.Of(a), name.Prefix(b)) {
			t.Fatalf("%q begins with %q, but %q not with %q", a, b, name.Of(a), name.Prefix(b))
		}
		if a > b && name.Of(a) < name.Before(b) {
			t.Fatalf("%q is after %q, but %q before %q", a, b, name.Of(a), name.Before(b))
		}
	})
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{"a", "user-2D1", name.Of(strings.Repeat("\x00", 1024)), "-", "-2", "-2d", "~2D", ".", "a.b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, whole, err := name.Key(s)
		if err == nil && whole && name.Of(key) != s {
			t.Fatalf("%q gives the key %q, whose name is %q", s, key, name.Of(key))
		}
	})
}
