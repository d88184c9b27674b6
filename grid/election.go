package grid

import (
	"sync"
	"time"
	_ "unsafe" // for go:linkname
)

// A follower that hears nothing of its leader stands for election after a random time between these two. The server has no option for them (4 and 9 s); ADR 7 says
// why they are set all the same. Leaders send heartbeats once a second.
const (
	electionAfter = 2500 * time.Millisecond
	electionUntil = 5 * time.Second
	// A leader that has heard nothing of most replicas for quorumLostAfter, by a look every quorumLook, leads no more. The server has 10 s for both.
	quorumLostAfter = 3 * time.Second
	quorumLook      = 2 * time.Second
)

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
var lostQuorumInterval time.Duration

//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var lostQuorumCheck time.Duration

// electSooner sets the times of elections of every server in this process. It is called before the first of a cluster starts.
var electSooner = sync.OnceFunc(func() {
	minElectionTimeout, maxElectionTimeout = electionAfter, electionUntil
	lostQuorumInterval, lostQuorumCheck = quorumLostAfter, quorumLook
})
