package app_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/printer"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fixedLimits are the limits that nobody sets, for docs/config.md: the constant that has the value, its unit, what it bounds, and what happens over it.
var fixedLimits = []struct{ constant, unit, bounds, over string }{
	{"grid.MaxKeyBytes", "bytes", "A key", "`bad_key` (400)"},
	{"grid.MaxValueBytes", "bytes", "A value; a cache's `max_entry_bytes` may be less", "`too_large` (413)"},
	{"grid.MaxLabelBytes", "bytes", "An entry's labels, encoded", "`too_large` (413)"},
	{"grid.MaxTypeBytes", "bytes", "An entry's content type", "`too_large` (413)"},
	{"grid.MaxLifespan", "time", "A lifespan or a maximum idle time", "`bad_request` (400)"},
	{"serve/rest.maxConfigBytes", "bytes", "The body that makes or alters a cache, or sets how a model runs", "`too_large` (413)"},
	{"serve/rest.maxEvictBytes", "bytes", "The body that names keys to evict", "`too_large` (413)"},
	{"serve/rest.maxReasons", "", "Reasons in the answer of an eviction", "The others are counted and have none"},
	{"serve/rest.evictTime", "time", "A step of an eviction, of 4096 keys", "The connection is cut"},
	{"serve/rest.newestAtOnce", "", "`limit` of a list with `order=newest`", "`bad_request` (400)"},
	{"serve/rest.importsAtOnce", "", "Imports under way at a time", "`overloaded` (503)"},
	{"serve/rest.drawingsAtOnce", "", "Pictures of models' graphs that are made at a time", "`overloaded` (503)"},
	{"serve/rest.profilesAtOnce", "", "Profiles of models that are made at a time", "`overloaded` (503)"},
	{"serve/rest.profileWithin", "time", "A profile's runs", "The mean of those that ended; `timeout` (504) where none did"},
	{"serve/rest.maxProfileRuns", "", "`runs` of a profile", "`bad_request` (400)"},
	{"serve/rest.maxProfileRows", "", "`rows` of a profile", "`bad_request` (400)"},
	{"serve/rest.maxProfileSizes", "", "`length` of a profile", "`bad_request` (400)"},
	{"serve/rest.importSpool", "bytes", "An `.npz` that is imported", "`too_large` (413)"},
	{"bulk.maxColumns", "", "Columns of a CSV file that is imported", "`bad_content` (400)"},
	{"bulk.maxNested", "", "Objects in one another in a value that is exported as CSV", "`format_cannot_hold` (422)"},
	{"bulk.maxColumnName", "bytes", "The name of the column for a field in such an object", "`format_cannot_hold` (422)"},
	{"bulk.maxHeader", "bytes", "The header of a CSV file", "`bad_content` (400)"},
	{"bulk.maxKeysBytes", "bytes", "The tensor `keys` of an `.npz`", "`too_large` (413)"},
	{"serve/rest.maxArchiveFiles", "", "Files in an archive of a model", "`model_refused` (422)"},
	{"registry.MaxModelBytes", "bytes", "A model's file; `http.limits.model_body` may be less", "`too_large` (413)"},
	{"serve/oip.maxIndexBody", "bytes", "The body of `POST /v2/repository/index`", "`too_large` (413)"},
	{"pipeline.MaxDefinitionBytes", "bytes", "The body that makes a pipeline", "`too_large` (413)"},
	{"pipeline.MaxBatch", "", "`max_batch` of a pipeline", "`bad_config` (400)"},
	{"pipeline.MaxTop", "", "`top` of a pipeline", "`bad_config` (400)"},
	{"pipeline.MaxCarry", "", "Fields that a pipeline carries", "`bad_config` (400)"},
	{"pipeline.MaxRunTimeout", "time", "`run_timeout` of a pipeline", "`bad_config` (400)"},
	{"pipeline.mostTrials", "", "Entries that are tried at a time on a node", "`overloaded` (503)"},
	{"pipeline.endWithin", "time", "A run that was cancelled, before nobody waits for it any more", "The run is left alone"},
	{"pipeline.mostLeft", "", "Such runs of one version of a model", "The pipeline is `blocked` until one ends or another version serves"},
	{"pipeline.mostShort", "bytes", "The message of an error entry that was too large for its cache", "It is cut"},
	{"media.MaxPixels", "", "Pixels of a picture", "`too_large` (413); `bad_input` in a pipeline"},
	{"media.decodedAtOnce", "bytes", "What pictures that are decoded at a time unpack to on a node, with their copies; those below 1 MiB do not count", "The next one waits; one that has more alone is decoded alone"},
	{"media.ParseLimit", "bytes", "What a compressed `.npz` of an entry unpacks to", "`too_large` (413); `bad_input` in a pipeline"},
	{"media.npzMaxTensors", "", "Tensors in an `.npz`", "`too_large` (413); `bad_input` in a pipeline"},
	{"media.npyMaxHead", "bytes", "The header of an `.npy`", "`too_large` (413); `bad_input` in a pipeline"},
	{"media.npyMaxRank", "", "Dimensions of an `.npy`", "`bad_content` (400); `bad_input` in a pipeline"},
	{"media/jsontensor.MaxDepth", "", "Depth of nested JSON in a request or an entry", "`bad_request` (400); `bad_input` in a pipeline"},
	{"media/jsontensor.MaxRank", "", "Dimensions of a tensor in JSON", "`bad_request` (400); `bad_input` in a pipeline"},
	{"serve/rest.slowWithin", "time", "A write to a stream whose reader does not read", "The connection is cut; an event stream goes on with `Last-Event-ID`"},
	{"serve.refusalTime", "time", "A connection that is over a limit, to hear why", "It is closed"},
	{"serve.leastRefusing", "", "Connections that may be told so at a time, at least", "The next one is closed without a word"},
	{"registry.closeWithin", "time", "What a node that stops waits for a model's runs", "They end with the process"},
}

// innerLimits bound steps and buffers inside: what is over them waits or comes in the next step, and nobody is refused.
var innerLimits = []string{
	"serve/rest.eventsAtOnce", "serve/rest.listAtOnce", "grid.loadsAtOnce", "grid.againAtOnce", "grid.fastMax", "grid.putsAtOnce", "grid.gatherMax", "grid.maxPendingBytes",
	"grid.fillMax", "grid.maxPartitions", "grid.scansAtOnce", "grid.cachesAtOnce", "grid.aheadMax", "grid.askMax", "grid.flightMax", "grid.usesMax", "grid.triesAtOnce", "cold.writesAtOnce", "cold.usesMax",
	"bulk.maxPart", "media.leastContrast", "serve/oip.runWithin", "pipeline.mostSpread", "pipeline.offerWithin", "pipeline.mostGuestPlans",
	"model.MaxBytes", "store.MaxKeyBytes", "store.MaxValueBytes", "store.MaxMetadataBytes", // as registry.MaxModelBytes, and above those of the grid
}

// writeFixedLimits writes their table, with the values that the sources have. A constant that is named like a limit and is in neither list fails.
func (w *docWriter) writeFixedLimits() {
	values := map[string]constant.Value{}
	for _, dir := range []string{"serve", "serve/rest", "serve/oip", "serve/admin", "grid", "cold", "store", "pipeline", "registry", "bulk", "media", "media/jsontensor", "model"} {
		constants(w.t, dir, values)
	}
	w.out.WriteString("\n## Limits that are fixed\n\nEverything else that is refused, cut or ended for its size, number or time. Nobody can set these.\n\n" +
		"| limit | of what | over it |\n| --- | --- | --- |\n")
	known := map[string]bool{}
	for _, l := range fixedLimits {
		known[l.constant] = true
		v, ok := values[l.constant]
		if !ok {
			w.t.Errorf("there is no constant %s", l.constant)
			continue
		}
		fmt.Fprintf(&w.out, "| %s | %s | %s |\n", inUnit(v, l.unit), l.bounds, l.over)
	}
	for _, name := range innerLimits {
		known[name] = true
		if _, ok := values[name]; !ok {
			w.t.Errorf("there is no constant %s", name)
		}
	}
	limit := regexp.MustCompile(`\.(max|Max|most|least)[A-Z]|(AtOnce|Max|Within)$`)
	for name := range values {
		if limit.MatchString(name) && !known[name] {
			w.t.Errorf("%s is named like a limit: write it down for docs/config.md, or among the inner ones", name)
		}
	}
}

// constants reads the numbers that a package's constants are, by directory and name.
func constants(t *testing.T, dir string, values map[string]constant.Value) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	set := token.NewFileSet()
	units := strings.NewReplacer("time.Second", "1000000000", "time.Minute", "60000000000", "time.Hour", "3600000000000", "time.Millisecond", "1000000")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				s := spec.(*ast.ValueSpec)
				for i, name := range s.Names {
					if i >= len(s.Values) {
						continue // counted by iota
					}
					var text strings.Builder
					if err := printer.Fprint(&text, set, s.Values[i]); err != nil {
						t.Fatal(err)
					}
					if v, err := types.Eval(set, nil, token.NoPos, units.Replace(text.String())); err == nil && v.Value != nil && v.Value.Kind() == constant.Int {
						values[dir+"."+name.Name] = v.Value
					}
				}
			}
		}
	}
}

func inUnit(v constant.Value, unit string) string {
	n, _ := constant.Int64Val(v)
	switch unit {
	case "time":
		d := time.Duration(n)
		if d >= 24*time.Hour {
			return fmt.Sprintf("%d h", d/time.Hour)
		}
		return fmt.Sprintf("%d s", d/time.Second)
	case "bytes":
		for _, u := range []struct {
			name string
			size int64
		}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
			if n >= u.size && n%u.size == 0 {
				return fmt.Sprintf("%d %s", n/u.size, u.name)
			}
		}
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprint(n)
}
