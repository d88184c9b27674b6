package main

// The byte offsets of gemm's tileArgs. A test in gemm compares them.
const (
	argA     = 0
	argSteps = 8
	argDepth = 16
	argB     = 24
	argLDB   = 32
	argC     = 40
	argLDC   = 48
	argCol   = 56
	argRow   = 64
	argLo    = 72
	argHi    = 76
	argFlags = 80
	argCols  = 88
	argRows  = 96

	flagAccumulate = 1
	flagClip       = 2
)
