package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/fault"
)

// ValidateAll reports what is wrong with pipelines that run together, beside the faults of each: two of one name, two that write one cache
// without saying both that they share it, and those whose results or errors come back as their own inputs, which would never rest. It returns an ErrConfig that holds fault.Errors, whose paths begin with
// the pipeline's name.
func ValidateAll(configs []Config) error {
	var l fault.Errors
	byName := map[string]Config{}
	for _, c := range configs {
		_, twice := byName[c.Name]
		l.Check(!twice, c.Name, "there are two pipelines of this name")
		byName[c.Name] = c.WithDefaults()
	}
	readers := map[string][]string{} // by the cache that is read
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		readers[byName[name].From] = append(readers[byName[name].From], name)
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c := byName[name]
		for _, end := range []struct{ key, cache string }{{"to", c.To}, {"errors", c.Errors}} {
			if end.cache == c.From || end.cache == "" || c.From == "" {
				continue // a fault of this pipeline alone
			}
			if way := wayBack(byName, readers, end.cache, name); way != nil {
				l.Add(name+"."+end.key, "the pipelines feed each other without end: %s", strings.Join(append([]string{name}, way...), " -> "))
			}
		}
	}
	targets(&l, configs)
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// targets finds pipelines that write one cache: of two that have a result for one key, each would take the other's away. The later of both has the fault.
func targets(l *fault.Errors, all []Config) {
	type end struct {
		name, key string
		shares    bool
	}
	writers := map[string][]end{} // by the cache
	for _, c := range all {
		c, name := c.WithDefaults(), c.Name
		for _, e := range []struct{ key, cache string }{{"to", c.To}, {"errors", c.Errors}} {
			for _, other := range writers[e.cache] {
				if e.cache == "" || other.name == name || c.SharesTarget && other.shares {
					continue
				}
				l.Add(name+"."+e.key, "%q is written by pipeline %s too (%s): take another cache, or say shares_target: true in both where they never have the same key",
					e.cache, other.name, other.key)
			}
			writers[e.cache] = append(writers[e.cache], end{name, e.key, c.SharesTarget})
		}
	}
}

// wayBack returns the shortest chain of pipelines from a cache to the pipeline that name stands for, nil where there is none.
func wayBack(all map[string]Config, readers map[string][]string, cache, name string) []string {
	before := map[string]string{} // how each pipeline was reached; "" from the cache itself
	queue := []string{}
	reach := func(cache, by string) {
		if cache == "" {
			return // a fault of that pipeline alone
		}
		for _, next := range readers[cache] {
			if _, seen := before[next]; !seen {
				before[next] = by
				queue = append(queue, next)
			}
		}
	}
	for reach(cache, ""); len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == name {
			var way []string
			for step := at; step != ""; step = before[step] {
				way = append(way, step)
			}
			slices.Reverse(way)
			return way
		}
		reach(all[at].To, at)
		reach(all[at].Errors, at)
	}
	return nil
}
