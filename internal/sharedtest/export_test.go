package sharedtest

// Find is find, which Data calls with what the environment says.
var Find = find
