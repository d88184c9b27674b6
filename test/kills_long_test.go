//go:build long

package test

// kills is how often TestKill and TestKillWhileCold kill the node.
const kills = 20
