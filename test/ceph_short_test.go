//go:build ceph && !long

package test

import "time"

const (
	// outageAtLeast is how long the store is away in TestCephOutage, and clusterAway in TestCephCluster.
	outageAtLeast, clusterAway = 5 * time.Second, 3 * time.Second
	// clusterRounds is how often TestCephCluster does everything.
	clusterRounds = 1
	// clusterKeys is how many keys each of its clients has, and clusterWrites how many writes of each cache it waits for at each step.
	clusterKeys, clusterWrites = 20, 20
)
