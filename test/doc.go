// Package test has the tests of the whole program: they build the binary, run it as its users do, and kill it. Tests
// of one package stand beside its code.
package test
