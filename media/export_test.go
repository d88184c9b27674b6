package media

// PixelsWithin is Pixels with a limit on the size, so that the fuzzer's time goes into decoding.
var PixelsWithin = pixels
