//go:build !ceph

package test

// buildTags are those that the program under test is built with.
const buildTags = ""
