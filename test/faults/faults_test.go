//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
)

// forms are how often each fault is made.
var forms = map[string]int{"ci": 1, "short": 1, "long": 10}

// run is a cluster, its load and what is known of both, over all faults.
type run struct {
	t         *testing.T
	nodes     *nodes
	rec       *recorder
	random    *rand.Rand
	seed      uint64
	listeners []*listener
	skewed    func() (string, error)
	round     int
	kept      map[string]uint64 // by key of digits, the newest acknowledged revision
	seen      map[int][]event   // by listener, of the round
	// afterwards is a check of the fault's own, of the operations of its round.
	afterwards func([]*op) error
}

// TestFaults makes every fault happen to a cluster of three under load, and holds invariants 1, 4, 5 and 6, and that reads and conditional writes are linearizable.
// FAULTS says in which form; FAULTS_ONLY limits it to faults whose names contain one of these, with commas between, FAULTS_TIMES says how often in place of the form, after FAULTS_MINUTES
// none is made once more, FAULTS_SEED repeats a run's choices, FAULTS_OUT is the folder for the table and the numbers, FAULTS_HISTORY the one for the histories that failed, with the nodes' logs.
func TestFaults(t *testing.T) {
	form := os.Getenv("FAULTS")
	times, known := forms[form]
	if form == "" {
		t.Skip("FAULTS is not set; `FAULTS=short make faults` runs this within 10 minutes")
	}
	if !known {
		t.Fatalf("FAULTS=%s: it is ci, short or long", form)
	}
	if os.Getuid() != 0 {
		t.Fatal("network namespaces and disks of their own need root")
	}
	if s := os.Getenv("FAULTS_TIMES"); s != "" {
		var err error
		if times, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	began, limit := time.Now(), time.Duration(0)
	if s := os.Getenv("FAULTS_MINUTES"); s != "" {
		minutes, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		limit = time.Duration(minutes) * time.Minute
	}
	r := newRun(t)
	var some []fault
	for _, f := range faults {
		if form == "ci" && !f.ci || !chosen(f.name) {
			continue
		}
		some = append(some, f)
		if f.prepare != nil {
			f.prepare(r)
		}
	}
	about, err := newReport(form, r.seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range some {
		about.Faults = append(about.Faults, &result{Fault: f.name, What: f.what})
	}
	r.start()
	// One after the other, again and again, so that each was made as often wherever it ends.
	for range times {
		for i, f := range some {
			r.once(f, about.Faults[i])
		}
		if out := os.Getenv("FAULTS_OUT"); out != "" {
			if err := about.write(out); err != nil {
				t.Error(err)
			}
		}
		if limit > 0 && time.Since(began) > limit {
			break
		}
	}
	for _, res := range about.Faults {
		t.Log(res)
	}
	r.checkAll()
}

// chosen reports whether FAULTS_ONLY, parts of names with commas between, has a fault.
func chosen(name string) bool {
	return slices.ContainsFunc(strings.Split(os.Getenv("FAULTS_ONLY"), ","), func(part string) bool { return strings.Contains(name, part) })
}

func newRun(t *testing.T) *run {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FAULTS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FAULTS_SEED=%d", seed)
	dir := t.TempDir()
	binary, err := build(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{
		t: t, nodes: newNodes(t, binary), rec: newRecorder(), random: rand.New(rand.NewPCG(seed, 1)), seed: seed, kept: map[string]uint64{}, seen: map[int][]event{},
		skewed: sync.OnceValues(func() (string, error) { return buildSkewed(dir) }),
	}
	return r
}

// start starts the cluster, and who listens to it.
func (r *run) start() {
	t := r.t
	t.Helper()
	began := time.Now()
	for i := range members {
		if err := r.nodes.start(i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.nodes.settle(startLimit); err != nil {
		t.Fatal(err)
	}
	t.Logf("three nodes are a cluster after %v", time.Since(began).Round(time.Millisecond))
	for i := range members {
		r.listeners = append(r.listeners, startListener(r.nodes, r.rec, i, "predictions"))
	}
	r.listeners = append(r.listeners, startListener(r.nodes, r.rec, 0, "registers"))
	t.Cleanup(func() {
		for _, l := range r.listeners {
			l.close()
		}
	})
}

func (r *run) targets() (list []target) {
	for i := range members {
		list = append(list, target{r.nodes.base(i), &r.nodes.all[i].lives})
	}
	return list
}

// once makes a fault happen once under load, and checks all that was done and seen meanwhile.
func (r *run) once(f fault, res *result) {
	r.round++
	res.Times++
	r.afterwards = nil
	clear(r.seen)
	began := time.Now()
	r.t.Logf("round %d: %s", r.round, f.name)
	l := startLoad(r.round, r.targets(), r.rec, r.seed+uint64(r.round))
	from := r.rec.now()
	err := r.wait(2 * time.Second)
	if err == nil {
		err = f.inject(r)
	}
	var settled time.Duration
	if err == nil {
		settled, err = r.nodes.settle(settleLimit)
	}
	if err == nil {
		err = r.wait(time.Second)
	}
	to := r.rec.now()
	l.end()
	ops := r.rec.take()
	if err != nil {
		r.nodes.network.heal()
		r.fail(ops, res, fmt.Errorf("the fault itself: %w", err))
		r.recover(res)
		return
	}
	v, err := r.check(ops)
	if r.afterwards != nil {
		err = errors.Join(err, r.afterwards(ops))
	}
	write, read := gaps(ops, from, to)
	res.add(ops, v, write, read, settled)
	r.t.Logf("  %d operations in %v, %d acknowledged; whole %v after it; longest write gap %v, read gap %v", len(ops), time.Since(began).Round(time.Second),
		acknowledged(ops), settled.Round(time.Millisecond), write.Round(time.Millisecond), read.Round(time.Millisecond))
	if err != nil {
		r.fail(ops, res, err)
	}
}

// fail reports a round's findings, and keeps its history.
func (r *run) fail(ops []*op, res *result, err error) {
	r.t.Helper()
	res.Failures++
	r.t.Errorf("round %d, %s: %v", r.round, res.Fault, err)
	if dir := os.Getenv("FAULTS_HISTORY"); dir != "" {
		name := fmt.Sprintf("round-%d-%d", r.seed, r.round)
		path := filepath.Join(dir, name+".jsonl")
		err := errors.Join(writeHistory(path, ops), r.nodes.keep(dir, name))
		for i, events := range r.seen {
			err = errors.Join(err, writeHistory(filepath.Join(dir, fmt.Sprintf("%s-events-%d.jsonl", name, i)), events))
		}
		if err != nil {
			r.t.Error(err)
		}
		r.t.Logf("its history is in %s", path)
	}
}

// resultsLimit is how long the pipeline and the listeners may take to come to the end after a round.
const resultsLimit = time.Minute

// check waits for the results of a round and holds everything against its history.
func (r *run) check(ops []*op) (v *verdict, err error) {
	prefix := fmt.Sprintf("r%d-", r.round)
	digits, registers := byCache(ops, "digits"), byCache(ops, "registers")
	var inputs, results, values map[string]entry
	err = until(r.t.Context(), resultsLimit, func() error {
		var err error
		node := r.anyNode()
		if inputs, err = r.entries(node, "digits", prefix); err != nil {
			return err
		}
		if results, err = r.entries(node, "predictions", prefix); err != nil {
			return err
		}
		if values, err = r.entries(node, "registers", prefix); err != nil {
			return err
		}
		v := &verdict{}
		v.checkProcessed(inputs, results)
		return v.err()
	})
	v = &verdict{}
	if err != nil {
		v.errs = append(v.errs, err)
	}
	v.checkKept(digits, inputs)
	v.checkSessions(byCache(ops, "notes"))
	v.checkProcessed(inputs, results)
	for _, o := range digits {
		if o.Outcome == ok {
			r.kept[o.Key] = max(r.kept[o.Key], o.Revision)
		}
	}
	var seen []event
	for i, l := range r.listeners {
		of, keys := results, keysOf(digits)
		if l.cache == "registers" {
			of, keys = values, keysOf(registers)
		}
		if err := until(r.t.Context(), resultsLimit, func() error { return checkNewest(l.newest, keys, of) }); err != nil {
			v.errs = append(v.errs, fmt.Errorf("the %s, which is at n%d: %w", l.name, l.at(), err))
		}
		events, err := l.take()
		if err != nil {
			v.errs = append(v.errs, err)
		}
		r.seen[i] = events
		v.checkOrder(l.name, events)
		if l.cache == "predictions" {
			seen = append(seen, events...)
		}
	}
	v.checkResults(seen, results)
	keys, err := checkLinear(registers)
	if err != nil {
		v.errs = append(v.errs, err)
	}
	v.Keys = keys
	return v, v.err()
}

// checkAll holds at the end that nothing of any round is lost, at each node.
func (r *run) checkAll() {
	for i := range members {
		inputs, err := r.entries(i, "digits", "")
		if err != nil {
			r.t.Error(err)
			continue
		}
		lost := 0
		for key, revision := range r.kept {
			if inputs[key].revision < revision {
				lost++
			}
		}
		if lost > 0 {
			r.t.Errorf("invariant 1: at the end n%d has not %d of %d entries that were acknowledged", i, lost, len(r.kept))
		}
		r.t.Logf("n%d has %d of %d entries of all rounds that were acknowledged", i, len(r.kept)-lost, len(r.kept))
	}
}

// entries lists a cache at a node.
func (r *run) entries(node int, cache, prefix string) (map[string]entry, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/rest/v2/caches/%s?action=entries&values=%t&prefix=%s", r.nodes.base(node), cache,
		cache == "predictions", prefix), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list []struct {
		Key      grid.JSONKey
		Revision uint64
		Value    pipeline.Result
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("entries of %s at n%d: status %d: %w", cache, node, resp.StatusCode, err)
	}
	all := make(map[string]entry, len(list))
	for _, e := range list {
		all[string(e.Key)] = entry{e.Revision, uint64(e.Value.Source.Revision)}
	}
	return all, nil
}

func byCache(ops []*op, cache string) (list []*op) {
	for _, o := range ops {
		if o.Cache == cache {
			list = append(list, o)
		}
	}
	return list
}

func keysOf(ops []*op) (keys []string) {
	for _, o := range ops {
		keys = append(keys, o.Key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// until calls check until it returns nil, and returns its last error after a while.
func until(ctx context.Context, limit time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
