package app_test

import (
	"encoding"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/app"
)

var update = flag.Bool("update", false, "write docs/config.md anew")

const configDoc = "../../docs/config.md"

const configDocHead = "# Configuration\n\n" +
	"`millrace serve -c FILE` reads one YAML file. Unknown keys, and values that do not fit, are refused with their line;\n" +
	"`millrace serve --check -c FILE` does only that. A path in the file is relative to the file's folder.\n\n" +
	"Each key is an environment variable too, which wins over the file: `MILLRACE_`, then the key in capitals with `_` for each\n" +
	"dot, so that `http.listen` is `MILLRACE_HTTP_LISTEN`. A list or a map is written there as YAML\n" +
	"(`MILLRACE_CACHES='{digits: {max_entries: 1000}}'`) and replaces the file's. Flags win over both.\n" +
	"`MILLRACE_CONFIG` names the file where `-c` does not.\n\n" +
	"A duration is written `250ms`, `5s`, `24h`; a size `512`, `64KiB`, `8MiB`, `2GiB`, or with powers of ten `8MB`.\n\n" +
	"```yaml\n" + exampleConfig + "```\n\n" +
	"This page is made of the comments in `internal/app/config.go` by `make docs`.\n"

const exampleConfig = `node:      {name: n1, data: ./data}
http:      {listen: 127.0.0.1:8080}
grid:      {partitions: 8}
stores:    {cold: {type: disk, dir: ./data/cold}}
caches:    {digits: {max_entries: 10000, store: cold}, predictions: {lifespan: 24h}}
models:    {digits: {path: digits.onnx}}
pipelines: {classify: {from: digits, model: digits, to: predictions, max_batch: 64}}
`

// TestConfigDoc makes docs/config.md of the structs and holds the file against it. A key without a comment fails.
func TestConfigDoc(t *testing.T) {
	w := &docWriter{t: t, docs: fieldDocs(t, "config.go")}
	w.out.WriteString(configDocHead)
	w.structure("", reflect.ValueOf(app.Defaults()))
	w.writeFixedLimits()
	want := w.out.String()
	if *update {
		if err := os.WriteFile(configDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configDoc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/config.md is not what the structs say; run `make docs` (-want +got):\n%s", diff)
	}
}

// fieldDocs returns the comment of every struct field, by "Type.Field".
func fieldDocs(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
		}
		return false
	})
	return docs
}

type docWriter struct {
	t    *testing.T
	docs map[string]string
	out  strings.Builder
}

// structure writes the table of v's own keys, then one section for each struct and map in it.
func (w *docWriter) structure(path string, v reflect.Value) {
	type section struct {
		path, doc string
		v         reflect.Value
	}
	var sections []section
	var rows []string
	for i := range v.NumField() {
		field := v.Type().Field(i)
		doc := w.docs[v.Type().Name()+"."+field.Name]
		if doc == "" {
			w.t.Errorf("%s.%s has no comment", v.Type().Name(), field.Name)
		}
		key := field.Tag.Get("yaml")
		if key == "" {
			w.t.Errorf("%s.%s has no key", v.Type().Name(), field.Name)
		}
		full := strings.TrimPrefix(path+"."+key, ".")
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			sections = append(sections, section{full, doc, f})
		case f.Kind() == reflect.Map && f.Type().Elem().Kind() == reflect.Struct:
			sections = append(sections, section{full + ".NAME", doc, reflect.New(f.Type().Elem()).Elem()})
		default:
			def, ok := field.Tag.Lookup("default")
			if !ok {
				def = text(f)
			}
			if def != "" {
				def = "`" + def + "`"
			}
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", full, typeName(f.Type()), def, strings.ReplaceAll(doc, "|", `\|`)))
		}
	}
	if len(rows) > 0 {
		w.out.WriteString("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n" + strings.Join(rows, ""))
	}
	for _, s := range sections {
		fmt.Fprintf(&w.out, "\n## %s\n\n%s\n", s.path, s.doc)
		w.structure(s.path, s.v)
	}
}

func text(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return ""
	}
	return fmt.Sprint(v.Interface())
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[app.Duration]():
		return "duration"
	case reflect.TypeFor[app.Size]():
		return "size"
	case reflect.TypeFor[app.Path]():
		return "path"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		return "list of " + typeName(t.Elem()) + "s"
	case reflect.Map:
		return "names with " + typeName(t.Elem()) + "s"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "whole number"
	case reflect.Float64:
		return "number"
	}
	return "text"
}
