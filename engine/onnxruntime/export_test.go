package onnxruntime

// Doubtful are the operators that Doubts knows.
var Doubtful = doubtful
