package grid

import (
	"errors"
	"strings"
	"testing"
)

// TestJudge: by the terms of the others a node goes on, waits, or stops with the reason.
func TestJudge(t *testing.T) {
	of := func(node string, partitions, replicas int, is string) terms {
		return terms{Node: node, Format: formatVersion, Partitions: partitions, Replicas: replicas, Voice: strings.Contains(is, "voice"), Data: strings.Contains(is, "data")}
	}
	id := func(id string, t terms) terms {
		t.ID = id
		return t
	}
	voices := func(of terms, nodes ...string) terms {
		of.Knows, of.Voices = true, []string{}
		for _, n := range nodes {
			of.Voices = append(of.Voices, VoiceID(n))
		}
		return of
	}
	for _, tt := range []struct {
		name   string
		own    terms
		others []terms
		ok     bool
		waits  string // a part of what it waits for
		err    string // a part of the error
	}{
		{"alone", of("n1", 8, 3, ""), nil, false, "", ""},
		{"two that are new", of("n1", 8, 3, ""), []terms{of("n2", 8, 3, "")}, true, "", ""},
		{"a voice of the same terms", of("n3", 8, 3, ""), []terms{of("n1", 8, 3, "voice"), of("n2", 8, 3, "voice")}, true, "", ""},
		{"a voice of other partitions", of("n3", 16, 3, ""), []terms{of("n1", 8, 3, "voice"), of("n2", 16, 3, "")}, false, "", "node n1 has 8 partitions, and grid.partitions is 16"},
		{"a voice of other replicas", of("n3", 8, 5, ""), []terms{of("n1", 8, 3, "voice")}, false, "", "node n1 has 3 replicas, and cluster.replicas is 5"},
		{"replicas of a grid that is not open", of("n3", 8, 3, ""), []terms{of("n1", 0, 3, "voice data")}, false, "n1 has replicas", ""},
		{"the same, with a voice of before", of("n3", 8, 3, "voice"), []terms{of("n1", 0, 3, "voice data")}, true, "", ""},
		{"the same, with a voice in its cluster", id("x", of("n3", 8, 3, "voice")), []terms{id("x", of("n1", 0, 3, "voice data"))}, true, "", ""},
		{"the same, with a voice in another", id("y", of("n3", 8, 3, "voice")), []terms{id("x", of("n1", 0, 3, "voice data"))}, false, "n1 has replicas", ""},
		{"new beside replicas and a voice", of("n4", 8, 3, ""), []terms{voices(of("n1", 8, 3, "voice data"), "n1", "n2", "n3"), voices(of("n3", 8, 3, "voice"), "n1", "n2", "n3")}, true, "", ""},
		{"emptied beside replicas and a voice", of("n2", 8, 3, ""), []terms{voices(of("n1", 8, 3, "voice data"), "n1", "n2", "n3"), voices(of("n3", 8, 3, "voice"), "n1", "n2", "n3")}, false, "n1 has replicas", ""},
		{"emptied, and all others have none", of("n2", 8, 3, ""), []terms{voices(of("n1", 8, 3, "voice"), "n1", "n2", "n3"), voices(of("n3", 8, 3, "voice"), "n3", "n2")}, true, "", ""},
		{"emptied, and one is away that may have some", of("n2", 8, 3, ""), []terms{voices(of("n1", 8, 3, "voice"), "n1", "n2", "n3")}, false, "of which 1 are away", ""},
		{"a voice that is yet to say who has one", of("n2", 8, 3, ""), []terms{voices(of("n1", 8, 3, "voice"))}, false, "", ""},
		{"any partitions", of("n3", 16, 3, ""), []terms{of("n1", 0, 3, "voice")}, true, "", ""},
		{"fewer of the new ones", of("n1", 16, 3, ""), []terms{of("n2", 8, 3, ""), of("n3", 8, 3, "")}, false, "", "node n3 has 8 partitions"},
		{"more of the new ones", of("n2", 8, 3, ""), []terms{of("n1", 16, 3, ""), of("n3", 8, 3, "")}, true, "", ""},
		{"as many, with the first name", of("n1", 8, 3, ""), []terms{of("n2", 16, 3, "")}, false, "node n2 has 16 partitions", ""},
		{"as many, without it", of("n2", 16, 3, ""), []terms{of("n1", 8, 3, "")}, false, "", "node n1 has 8 partitions"},
		{"another format", terms{Node: "n2", Format: formatVersion + 1, Partitions: 8, Replicas: 3}, []terms{of("n1", 8, 3, "voice")}, false, "", "must all have the same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, waits, err := tt.own.judge(tt.others)
			if ok != tt.ok || !strings.Contains(waits, tt.waits) || (waits == "") != (tt.waits == "") {
				t.Errorf("%t, waits %q", ok, waits)
			}
			if (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || !errors.Is(err, errRefused) || !errors.Is(err, ErrConfig)) {
				t.Errorf("%v", err)
			}
		})
	}
}
