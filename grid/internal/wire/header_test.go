package wire_test

import (
	"testing"

	"github.com/millrace/millrace/grid/internal/wire"
)

func TestHeader(t *testing.T) {
	for _, test := range []struct {
		block       string
		code        int
		text        string
		value       string
		there       bool
		description string
	}{
		{"NATS/1.0\r\nA: 1\r\nKey: v\r\nKey: w\r\n\r\n", 0, "", "v", true, "first of two"},
		{"NATS/1.0\r\nKey:v\r\n\r\n", 0, "", "v", true, "no space"},
		{"NATS/1.0\r\nKey:  \tv w \r\n\r\n", 0, "", "v w", true, "spaces"},
		{"NATS/1.0\r\nKey: a:b\r\n\r\n", 0, "", "a:b", true, "colon in the value"},
		{"NATS/1.0\r\nKey:\r\n\r\n", 0, "", "", true, "empty"},
		{"NATS/1.0\r\nkey: v\r\n\r\n", 0, "", "", false, "other case"},
		{"NATS/1.0\r\nKeys: v\r\nAKey: v\r\n\r\n", 0, "", "", false, "parts"},
		{"NATS/1.0\r\nKey\r\n\r\n", 0, "", "", false, "no colon"},
		{"NATS/1.0\r\nKey: v", 0, "", "v", true, "cut off"},
		{"Key: v\r\n\r\n", 0, "", "", false, "the status line is none"},
		{"NATS/1.0 503\r\n\r\n", 503, "", "", false, "no responders"},
		{"NATS/1.0 100 Idle Heartbeat\r\nKey: v\r\n\r\n", 100, "Idle Heartbeat", "v", true, "heartbeat"},
		{"NATS/1.0 12x\r\n\r\n", 0, "", "", false, "not a code"},
		{"NATS/1.0 99999999999999999999\r\n\r\n", 0, "", "", false, "huge code"},
		{"NATS/1.0 -1\r\n\r\n", 0, "", "", false, "negative code"},
		{"NATS/1.0", 0, "", "", false, "cut off line"},
		{"", 0, "", "", false, "nothing"},
	} {
		h := wire.Header(test.block)
		code, text := h.Status()
		if code != test.code || string(text) != test.text {
			t.Errorf("%s: status %d %q, want %d %q", test.description, code, text, test.code, test.text)
		}
		if v, ok := h.Value("Key"); ok != test.there || string(v) != test.value {
			t.Errorf("%s: value %q %v, want %q %v", test.description, v, ok, test.value, test.there)
		}
	}
}

func TestHeaderAllocatesNothing(t *testing.T) {
	h := wire.Header(nil).Append("Nats-Expected-Last-Subject-Sequence", "17").Append("Millrace-Revision", "12").Append("Content-Type", "text/plain")
	buf := make(wire.Header, 0, 1000)
	count := 0
	if n := testing.AllocsPerRun(100, func() {
		if v, ok := h.Value("Content-Type"); !ok || string(v) != "text/plain" {
			t.Fatal("lost")
		}
		for range h.All() {
			count++
		}
		buf = buf[:0].Append("Name", "value")
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
