//go:build long

package test

// kills is how often TestKill kills the node.
const kills = 20
