// Command asm writes the assembly of package gemm. It is a module of its own, so
// that the generator is no dependency of the product. Run it by go generate.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// files are what is generated for amd64: one assembly file and one file of declarations each.
var files = []struct {
	name     string
	generate func(g *gen)
}{
	{"tile_avx512_amd64", func(g *gen) { tiles(g, avx512) }},
	{"tile_avx2_amd64", func(g *gen) { tiles(g, avx2) }},
	{"quads_avx512_amd64", func(g *gen) { integerTiles(g, avx512, quads) }},
	{"pairs_avx2_amd64", func(g *gen) { integerTiles(g, avx2, pairs) }},
	{"bytes_avx512_amd64", func(g *gen) { byteFunctions(g, avx512) }},
	{"bytes_avx2_amd64", func(g *gen) { byteFunctions(g, avx2) }},
	{"transpose_amd64", transpose},
	{"depthwise_avx512_amd64", func(g *gen) { depthwise(g, avx512) }},
	{"depthwise_avx2_amd64", func(g *gen) { depthwise(g, avx2) }},
	{"planes_avx512_amd64", func(g *gen) { planes(g, avx512) }},
	{"planes_avx2_amd64", func(g *gen) { planes(g, avx2) }},
	{"window_avx512_amd64", func(g *gen) { windows(g, avx512) }},
	{"window_avx2_amd64", func(g *gen) { windows(g, avx2) }},
	{"vector_avx512_amd64", func(g *gen) { vectors(g, avx512) }},
	{"vector_avx2_amd64", func(g *gen) { vectors(g, avx2) }},
}

// gen is an avo context with what all generators here share.
type gen struct {
	*build.Context
	labels int
}

// label makes a label that no other part of the function has.
func (g *gen) label(name string) string {
	g.labels++
	return fmt.Sprintf("%s%d", name, g.labels)
}

// function begins an assembly function that neither grows the stack nor lets
// its arguments escape.
func (g *gen) function(name, signature, doc string) {
	g.Function(name)
	g.Attributes(attr.NOSPLIT)
	g.Pragma("noescape")
	s, err := gotypes.ParseSignature(signature)
	if err != nil {
		panic(err)
	}
	g.Signature(s)
	g.Doc(doc)
}

func main() {
	out := flag.String("to", "..", "the folder of package gemm")
	flag.Parse()
	for _, f := range files {
		if err := write(*out, f.name, f.generate); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	for _, f := range neonFiles {
		if err := writeNEON(*out, f.name, f.generate); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func write(dir, name string, generate func(g *gen)) error {
	g := &gen{Context: build.NewContext()}
	g.ConstraintExpr("amd64,!purego")
	generate(g)
	file, err := g.Result()
	if err != nil {
		return fmt.Errorf("generate %s: %w", name, err)
	}
	cfg := printer.Config{Name: "avo", Argv: []string{"go", "generate"}, Pkg: "gemm"}
	var asm, stub bytes.Buffer
	if err := pass.Concat(pass.Compile,
		&pass.Output{Writer: nopCloser{&asm}, Printer: printer.NewGoAsm(cfg)},
		&pass.Output{Writer: nopCloser{&stub}, Printer: printer.NewStubs(cfg)}).Execute(file); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".s"), asm.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".go"), stub.Bytes(), 0o644)
}

// nopCloser is a writer that avo may close.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
