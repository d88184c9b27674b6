package gemm_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

// The generator's offsets are those of the structures.
func TestAssemblyLayout(t *testing.T) {
	for _, l := range []struct {
		file, prefix string
		want         []uintptr
	}{
		{"asm/layout.go", "arg", gemm.TileLayout()},
		{"asm/depthwise.go", "plane", gemm.PlaneLayout()},
		{"asm/planes.go", "copy", gemm.CopyLayout()},
	} {
		text, err := os.ReadFile(l.file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^\t`+l.prefix+`([A-Z]\w*)\s*= (\d+)$`).FindAllSubmatch(text, -1)
		if len(found) != len(l.want) {
			t.Fatalf("%s has %d fields, the structure has %d", l.file, len(found), len(l.want))
		}
		for i, m := range found {
			if got, err := strconv.Atoi(string(m[2])); err != nil || uintptr(got) != l.want[i] {
				t.Errorf("field %s: %s says %s, the structure %d", m[1], l.file, m[2], l.want[i])
			}
		}
	}
}
