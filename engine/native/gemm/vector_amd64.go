//go:build amd64 && !purego

package gemm

var vectorAVX512 = vectorFuncs{
	binary:   [binaries]func(dst, x, y *float32, n int){addAVX512, subAVX512, mulAVX512, divAVX512, maxAVX512, minAVX512, reluGradAVX512},
	unary:    [unaries]func(dst, x *float32, n int){sqrtAVX512, expAVX512, logAVX512, tanhAVX512, sigmoidAVX512, erfAVX512},
	affine:   affineAVX512,
	scale:    scaleAVX512,
	shift:    shiftAVX512,
	clip:     clipAVX512,
	axpy:     axpyAVX512,
	sum:      sumAVX512,
	dot:      dotAVX512,
	largest:  largestAVX512,
	smallest: smallestAVX512,
}

var vectorAVX2 = vectorFuncs{
	binary:   [binaries]func(dst, x, y *float32, n int){addAVX2, subAVX2, mulAVX2, divAVX2, maxAVX2, minAVX2, reluGradAVX2},
	unary:    [unaries]func(dst, x *float32, n int){sqrtAVX2, expAVX2, logAVX2, tanhAVX2, sigmoidAVX2, erfAVX2},
	affine:   affineAVX2,
	scale:    scaleAVX2,
	shift:    shiftAVX2,
	clip:     clipAVX2,
	axpy:     axpyAVX2,
	sum:      sumAVX2,
	dot:      dotAVX2,
	largest:  largestAVX2,
	smallest: smallestAVX2,
}
