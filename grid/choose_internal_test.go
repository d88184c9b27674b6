package grid

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestChoose: by the terms of the others a node finds its cluster, begins one, waits, or stops with the reason.
func TestChoose(t *testing.T) {
	of := func(node, id, is string) terms {
		has := func(what string) bool { return strings.Contains(is, what) }
		made := map[string]int64{"one": 1, "two": 2}
		if has("else") {
			made = map[string]int64{"one": 11, "two": 12}
		} else if !has("data") {
			made = nil
		}
		begun := ""
		if i := strings.Index(is, "begun "); i >= 0 {
			begun = is[i+len("begun "):]
		}
		return terms{
			Begun: begun,
			Node:  node, Format: formatVersion, Partitions: 8, Replicas: 3, Knows: !has("old"), ID: id, Sure: !has("unsure"), Voice: has("voice"), Data: has("data"),
			Guest: has("guest"), Made: made, seed: has("seed"), bySeeds: has("by its own"),
		}
	}
	for _, tt := range []struct {
		name   string
		own    terms
		others []terms
		id     string
		sure   bool
		forms  bool
		waits  string // a part of what it waits for
		err    string // a part of the error
	}{
		{"the first of the new ones", of("n1", "", ""), []terms{of("n2", "", ""), of("n3", "", "")}, "", true, true, "", ""},
		{"another of the new ones", of("n2", "", ""), []terms{of("n1", "", ""), of("n3", "", "")}, "", false, false, "node n1", ""},
		{"a guest has no part in that", of("n2", "", ""), []terms{of("n1", "", "guest"), of("n3", "", "")}, "", true, true, "", ""},
		{"a guest begins nothing", of("n1", "", "guest"), []terms{of("n2", "", "")}, "", false, false, "waits for nodes with grid", ""},
		{"new ones of before there were ids", of("n1", "", ""), []terms{of("n2", "", "old")}, "", false, false, "", ""},
		{"what another has begun", of("n1", "", ""), []terms{of("n2", "B", "voice"), of("n3", "", "")}, "B", true, false, "", ""},
		{"what two have begun", of("n1", "B", ""), []terms{of("n2", "B", "voice"), of("n3", "A", "voice")}, "A", true, false, "", ""},
		{"what it has begun itself", of("n1", "", "begun B"), []terms{of("n2", "", "")}, "B", true, true, "", ""},
		{"the first of what was begun", of("n1", "", "begun B"), []terms{of("n2", "", "begun C"), of("n3", "", "begun A")}, "A", true, true, "", ""},
		{"a voice before what was begun", of("n1", "", "begun A"), []terms{of("n2", "B", "voice")}, "B", true, false, "", ""},
		{"a grid before what was begun", of("n1", "A", ""), []terms{of("n2", "B", "voice data"), of("n3", "A", "voice")}, "B", true, false, "", ""},
		{"a grid that is not sure", of("n1", "", ""), []terms{of("n2", "B", "voice data"), of("n3", "B", "voice data unsure")}, "B", false, false, "", ""},
		{"two grids", of("n1", "", ""), []terms{of("n2", "B", "voice data"), of("n3", "A", "voice data")}, "", false, false, "", "n2 (id B); n3 (id A)"},
		{"two grids, one of them by the seeds", of("n1", "", ""), []terms{of("n2", "B", "voice data"), of("n3", "A", "voice data seed")}, "A", true, false, "", ""},
		{"a grid that has come to it", of("n1", "", "by its own"), []terms{of("n2", "B", "voice data")}, "", false, false, "cluster.seeds name", ""},
		{"a grid by the seeds", of("n1", "", "by its own"), []terms{of("n2", "B", "voice data seed")}, "B", true, false, "", ""},
		{"two grids, one of them its own", of("n1", "B", ""), []terms{of("n2", "B", "voice data"), of("n3", "A", "voice data seed")}, "B", true, false, "", ""},
		{"a grid of before there were ids", of("n1", "", ""), []terms{of("n2", "", "voice data old")}, "", false, false, "", ""},

		{"its own grid", of("n1", "A", "data"), []terms{of("n2", "A", "voice data"), of("n3", "B", "voice data")}, "A", true, false, "", ""},
		{"another grid", of("n1", "A", "data"), []terms{of("n2", "B", "voice data")}, "", false, false, "", "(id A) than the nodes that it meets, which have the same name and secret: n2 (id B)"},
		{"its own grid before others are there", of("n1", "A", "data"), []terms{of("n2", "", "")}, "A", true, false, "", ""},

		{"replicas without an id, the same elsewhere", of("n1", "", "data"), []terms{of("n2", "B", "voice data else"), of("n3", "A", "voice data")}, "A", true, false, "", ""},
		{"replicas without an id, others elsewhere", of("n1", "", "data"), []terms{of("n2", "B", "voice data else")}, "", false, false, "", "n2 (id B), of the same name and secret: its partitions were made at other times"},
		{"replicas without an id on both sides", of("n1", "", "data"), []terms{of("n2", "", "data")}, "", false, false, "", ""},
		{"replicas without an id on both sides, not the same", of("n1", "", "data"), []terms{of("n2", "", "data else")}, "", false, false, "", "made at other times"},
		{"replicas without an id beside an older program", of("n1", "", "data"), []terms{of("n2", "", "voice data old")}, "", false, false, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.own.choose(tt.others)
			if (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || !errors.Is(err, errRefused) || !errors.Is(err, ErrConfig)) {
				t.Fatal(err)
			}
			if tt.forms && tt.id == "" && c.is.ID != "" {
				tt.id = c.is.ID // a new one
			}
			if c.is != (identity{ID: tt.id, Sure: tt.sure}) || c.forms != tt.forms || !strings.Contains(c.waits, tt.waits) || (c.waits == "") != (tt.waits == "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestBeginning: who begins a cluster has been heard by those that say its id; others keep it for a while, and no longer.
func TestBeginning(t *testing.T) {
	var s saying
	s.set(terms{Node: "n1", Forms: true, ID: "A"})
	s.tell(terms{Node: "n2"})
	if s.heardBy([]string{"n2"}) {
		t.Error("n2 has asked, and its answer may be lost")
	}
	s.tell(terms{Node: "n2", Begun: "A"})
	if !s.heardBy([]string{"n2"}) {
		t.Error("n2 says the id, and is not taken for one that has heard it")
	}
	if id := begunBy([]terms{{ID: "C", Forms: true}, {ID: "A"}, {ID: "B", Forms: true}}); id != "B" {
		t.Errorf("begun is %q, want the first of those that begin one now", id)
	}
	now := time.Now()
	for ago, want := range map[time.Duration]string{begunFor - 1: "A", begunFor: ""} {
		if id := (beginning{"A", now.Add(-ago)}).lately(now); id != want {
			t.Errorf("%v after it began: %q, want %q", ago, id, want)
		}
	}
	if id := (beginning{}).lately(now); id != "" {
		t.Errorf("nothing has begun: %q", id)
	}
}
