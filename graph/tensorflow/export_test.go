package tensorflow

// Functional is functional, for its test.
var Functional = functional
