package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestWords holds each instruction that is encoded here against what a disassembler makes of its word.
func TestWords(t *testing.T) {
	const disassembler = "aarch64-linux-gnu-objdump"
	if _, err := exec.LookPath(disassembler); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: it is in the package binutils-aarch64-linux-gnu", err)
	}
	dir := t.TempDir()
	for _, f := range neonFiles {
		t.Run(f.name, func(t *testing.T) {
			if err := writeNEON(dir, f.name, f.generate); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, f.name+".s"))
			if err != nil {
				t.Fatal(err)
			}
			var words []byte
			var want []string
			for _, m := range regexp.MustCompile(`(?m)^\tWORD\t\$(0x[0-9a-f]{8}) // (.*)$`).FindAllStringSubmatch(string(text), -1) {
				word, err := strconv.ParseUint(m[1], 0, 32)
				if err != nil {
					t.Fatal(err)
				}
				words, want = binary.LittleEndian.AppendUint32(words, uint32(word)), append(want, m[2])
			}
			file := filepath.Join(dir, f.name)
			if err := os.WriteFile(file, words, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), disassembler, "-b", "binary", "-m", "aarch64", "-D", file).Output()
			if err != nil {
				t.Fatal(err)
			}
			got := regexp.MustCompile(`(?m)^ +[0-9a-f]+:\t[0-9a-f]{8} \t(.*)$`).FindAllStringSubmatch(string(out), -1)
			if len(want) == 0 || len(got) != len(want) {
				t.Fatalf("%d instructions, %d of them disassembled", len(want), len(got))
			}
			for i, m := range got {
				is, _, _ := strings.Cut(strings.ReplaceAll(m[1], "\t", " "), " //")
				if strings.TrimSpace(is) != want[i] {
					t.Fatalf("the word of %q is %q", want[i], is)
				}
			}
		})
	}
}
