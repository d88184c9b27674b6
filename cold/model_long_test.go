//go:build long

package cold_test

const modelRounds = 2000
