package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// neonFiles are what is generated for arm64. Go's assembler lacks most of its vector instructions, and avo knows no arm64, so
// they are encoded here: a WORD each, with the instruction behind it as the manual of the architecture writes it.
var neonFiles = []struct {
	name     string
	generate func(g *neon)
}{
	{"tile_neon_arm64", func(g *neon) { neonTiles(g, floats) }},
	{"quads_neon_arm64", func(g *neon) { neonTiles(g, quads) }},
	{"pairs_neon_arm64", func(g *neon) { neonTiles(g, pairs) }},
	{"bytes_neon_arm64", neonBytes},
	{"planes_neon_arm64", neonPlanes},
	{"window_neon_arm64", neonWindows},
	{"vector_neon_arm64", neonVectors},
}

// vreg is a vector register: below 32 the machine's own, else one that [neon.end] finds a register for.
type vreg int

// line is one line of assembly. A line with a word has its registers' numbers put into it, where shift says, or not where that is -1.
type line struct {
	text  string // with a %d for each register
	word  uint32
	isOp  bool
	regs  []vreg
	shift []int
}

// neon writes the functions of one file. General registers are named by the caller, R0 to R17 without limits; vector registers
// are given out.
type neon struct {
	asm, stub bytes.Buffer
	labels    int
	lines     []line
	next      vreg       // the next one that is not the machine's
	pinned    []vreg     // which the function keeps for itself
	loops     []loopSpan // whose turns no register that is given out may outlive
	consts    [][4]uint32
}

// loopSpan is the lines of a loop.
type loopSpan struct{ from, to int }

// function begins an assembly function that neither grows the stack nor lets its arguments escape.
func (g *neon) function(name, signature, doc string, size int) {
	fmt.Fprintf(&g.stub, "\n// %s %s\n//\n//go:noescape\nfunc %s%s\n", name, doc, name, signature)
	fmt.Fprintf(&g.asm, "\n// func %s%s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, signature, name, size)
	g.lines, g.next, g.pinned, g.loops = nil, 32, nil, nil
}

// do writes lines that Go's assembler knows.
func (g *neon) do(format string, args ...any) {
	g.lines = append(g.lines, line{text: fmt.Sprintf(format, args...)})
}

// op writes an instruction by its word. The registers are those at bits 0, 5 and 16, in the order of the text.
func (g *neon) op(word uint32, text string, regs ...vreg) {
	g.opAt(word, text, []int{0, 5, 16}[:len(regs)], regs...)
}

func (g *neon) opAt(word uint32, text string, shift []int, regs ...vreg) {
	g.lines = append(g.lines, line{text: text, word: word, isOp: true, regs: regs, shift: shift})
}

// label makes a label that no other part of the file has.
func (g *neon) label(name string) string {
	g.labels++
	return fmt.Sprintf("%s%d", name, g.labels)
}

func (g *neon) mark(label string) { g.do("%s:", label) }

// loop writes body between a label and the branch back to it, which branch writes.
func (g *neon) loop(name string, body func(), branch func(label string)) {
	l, from := g.label(name), len(g.lines)
	g.mark(l)
	body()
	branch(l)
	g.loops = append(g.loops, loopSpan{from, len(g.lines)})
}

// new gives a register until its last use, which must be in the same turn of every loop.
func (g *neon) new() vreg {
	g.next++
	return g.next - 1
}

// pin gives a register that the whole function keeps.
func (g *neon) pin() vreg {
	r := vreg(31 - len(g.pinned))
	g.pinned = append(g.pinned, r)
	return r
}

// constant is the place of a number in the file's table, where it fills a vector. The table's address is in R17.
func (g *neon) constant(bits uint32) int { return g.vector([4]uint32{bits, bits, bits, bits}) }

// vector is the place of a whole vector in the table.
func (g *neon) vector(v [4]uint32) int {
	i := slices.Index(g.consts, v)
	if i < 0 {
		i = len(g.consts)
		g.consts = append(g.consts, v)
	}
	return 16 * i
}

func (g *neon) table() { g.do("\tMOVD\t$constants<>(SB), R17") }

// end writes the function, with a register of the machine for each that was given out.
func (g *neon) end() {
	first, last := map[vreg]int{}, map[vreg]int{}
	for i, l := range g.lines {
		for _, r := range l.regs {
			if _, ok := first[r]; !ok {
				first[r] = i
			}
			last[r] = i
		}
	}
	for r, f := range first {
		for _, s := range g.loops {
			if r >= 32 && (f < s.from && last[r] >= s.from || f >= s.from && f < s.to && last[r] >= s.to) {
				panic("a register lives longer than one turn of a loop")
			}
		}
	}
	var free []vreg
	for r := vreg(31); r >= 0; r-- {
		if _, used := first[r]; !used && !slices.Contains(g.pinned, r) {
			free = append(free, r)
		}
	}
	at := map[vreg]vreg{}
	for i, l := range g.lines {
		word, numbers := l.word, make([]any, len(l.regs))
		for j, r := range l.regs {
			m := r
			if r >= 32 {
				if first[r] == i {
					if _, ok := at[r]; !ok {
						if len(free) == 0 {
							panic("no register left")
						}
						at[r], free = free[len(free)-1], free[:len(free)-1]
					}
				}
				m = at[r]
			}
			numbers[j] = int(m)
			if l.isOp && l.shift[j] >= 0 {
				word |= uint32(m) << l.shift[j]
			}
		}
		for j, r := range l.regs {
			if r >= 32 && last[r] == i && !slices.Contains(l.regs[:j], r) {
				free = append(free, at[r])
			}
		}
		text := l.text
		if len(numbers) > 0 {
			text = fmt.Sprintf(text, numbers...)
		}
		if l.isOp {
			text = fmt.Sprintf("\tWORD\t$%#08x // %s", word, text)
		}
		fmt.Fprintln(&g.asm, text)
	}
}

func writeNEON(dir, name string, generate func(g *neon)) error {
	g := &neon{}
	generate(g)
	const head = "// Code generated by command: go generate. DO NOT EDIT.\n\n//go:build arm64 && !purego\n\n"
	var table strings.Builder
	for i, v := range g.consts {
		for lane, bits := range v {
			fmt.Fprintf(&table, "DATA\tconstants<>+%d(SB)/4, $%#08x\n", 16*i+4*lane, bits)
		}
	}
	if len(g.consts) > 0 {
		fmt.Fprintf(&table, "GLOBL\tconstants<>(SB), RODATA|NOPTR, $%d\n", 16*len(g.consts))
	}
	asm := head + "#include \"textflag.h\"\n"
	if table.Len() > 0 {
		asm += "\n" + table.String()
	}
	if err := os.WriteFile(filepath.Join(dir, name+".s"), []byte(asm+g.asm.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".go"), []byte(head+"package gemm\n"+g.stub.String()), 0o644)
}
