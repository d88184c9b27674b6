// Package gemm is the arithmetic core of the native engine: single-precision
// matrix products, convolutions and element-wise vector functions, in assembly
// for AVX-512, AVX2 and NEON and in plain Go for every other processor. It leaves
// graphs, tensors, shapes, broadcasting, threads and memory plans to its
// callers: everything here works on slices that the caller owns.
//
// A [Kernel] is one implementation for one instruction set; [Default] picks the
// best that the processor has, [Available] lists all of them. Kernels are
// immutable and safe for concurrent use, and so are packed matrices and
// convolution plans. A [Product], a [ConvCall] and their scratch memory belong
// to one call at a time.
//
// Nothing in this package allocates while it computes: scratch memory is given
// by the caller, its size asked for beforehand. Nothing starts a goroutine: work
// is split over a [Parallel] that the caller supplies. The split depends only on
// the shapes and on Parallel.Workers, so a result's bits do not depend on timing.
//
// NaN and infinities follow IEEE 754: a product with a zero is computed, not
// skipped.
package gemm

//go:generate sh -c "cd asm && go run . -to .."
