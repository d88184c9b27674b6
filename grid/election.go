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
)

// comeBackAfter is how long a node that was removed is not let in again. The server has 5 min and no option: its own removed nodes may still be running. Ours are gone when they are removed, and
// what is to be waited for is only what was on its way from them.
const comeBackAfter = 5 * time.Second

//go:linkname peerRemoveTimeout github.com/nats-io/nats-server/v2/server.peerRemoveTimeout
var peerRemoveTimeout time.Duration

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

// electSooner sets these times of every server in this process. It is called before the first of a cluster starts.
var electSooner = sync.OnceFunc(func() {
	minElectionTimeout, maxElectionTimeout, peerRemoveTimeout = electionAfter, electionUntil, comeBackAfter
})
