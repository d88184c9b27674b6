package gemm_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

// The generator's offsets are those of the structure.
func TestTileLayout(t *testing.T) {
	text, err := os.ReadFile("asm/layout.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\targ(\w+)\s*= (\d+)$`).FindAllSubmatch(text, -1)
	want := gemm.TileLayout()
	if len(found) != len(want) {
		t.Fatalf("asm/layout.go has %d fields, tileArgs has %d", len(found), len(want))
	}
	for i, m := range found {
		if got, err := strconv.Atoi(string(m[2])); err != nil || uintptr(got) != want[i] {
			t.Errorf("field %s: asm/layout.go says %s, tileArgs %d", m[1], m[2], want[i])
		}
	}
}
