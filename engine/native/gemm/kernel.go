package gemm

import "slices"

// isa names the instruction set that a kernel's tiles are written for.
type isa uint8

const (
	isaGo isa = iota
	isaAVX2
	isaAVX512
	isaNEON
	isaNEONDot // with SDOT
)

// Depth of one block of the reduction: a panel of B of this depth stays in the
// first-level cache while the rows of A pass by.
const blockDepth = 256

// directDepth is the longest reduction that is not cut into blocks where only
// a few rows are computed, because then B is read once whatever its depth.
const directDepth = 4096

// Waking a thread takes some microseconds: a call is only cut into parts where it
// has as many multiplications as the fastest kernel does in about 20.
const parallelGrain = 1 << 20

// Multiplications that take as long as reading one element of B once from the
// caches beyond the first; what bounds products with few rows.
const readCost = 2

// Kernel computes with one instruction set. Its methods are safe for concurrent
// use. The zero Kernel is not usable; see [Default] and [Available].
type Kernel struct {
	name string
	isa  isa
	// rows and cols are the sizes of the register tile, lanes the width of a
	// vector; cols is a multiple of lanes.
	rows, cols, lanes int
	// direct[k] is the byte offset of element k of a contiguous row, packed[k]
	// that of step k in a packed panel of A.
	direct, packed []int32
	vector         *vectorFuncs // nil: plain Go
	integers       integerKernel
	grain          int // multiplications from which on a call is cut into parts
}

func newKernel(name string, set isa, rows, cols, lanes int, vector *vectorFuncs) *Kernel {
	k := &Kernel{name: name, isa: set, rows: rows, cols: cols, lanes: lanes, vector: vector, integers: machineIntegers(set), grain: parallelGrain,
		direct: make([]int32, directDepth), packed: make([]int32, blockDepth)}
	for i := range k.direct {
		k.direct[i] = int32(4 * i)
	}
	for i := range k.packed {
		k.packed[i] = int32(4 * rows * i)
	}
	return k
}

// Name is "avx512", "avx2", "neon-dot", "neon" or "go".
func (k *Kernel) Name() string { return k.name }

// available is made when the program starts, best first; it never changes.
var available = append(machineKernels(), newKernel("go", isaGo, maxTileRowsGo, tileColsGo, tileColsGo, nil))

// Default is the fastest kernel that this processor can run.
func Default() *Kernel { return available[0] }

// Available lists every kernel that this processor can run, fastest first. The
// last one is always the plain Go one. Tests and benchmarks use it to force a
// kernel; programs want [Default].
func Available() []*Kernel { return slices.Clone(available) }
