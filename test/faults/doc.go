// Package faults has the tests of a cluster under faults: real processes of the built binary, each in a network namespace of its own, with a load whose
// every operation is recorded and checked. `make faults` runs them; without FAULTS only the tests of the checkers themselves run.
package faults
