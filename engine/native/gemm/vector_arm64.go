//go:build arm64 && !purego

package gemm

var vectorNEON = vectorFuncs{
	binary:   [binaries]func(dst, x, y *float32, n int){addNEON, subNEON, mulNEON, divNEON, maxNEON, minNEON, reluGradNEON},
	unary:    [unaries]func(dst, x *float32, n int){sqrtNEON, expNEON, logNEON, tanhNEON, sigmoidNEON, erfNEON},
	affine:   affineNEON,
	scale:    scaleNEON,
	shift:    shiftNEON,
	clip:     clipNEON,
	axpy:     axpyNEON,
	sum:      sumNEON,
	dot:      dotNEON,
	largest:  largestNEON,
	smallest: smallestNEON,
}
