package natstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// Address returns an address of loopback that is free, for a process that is started later, maybe more than once. Its port is below those that the system gives to connections by
// itself, of which any could be taken meanwhile.
func Address() (string, error) {
	var last error
	for range 100 {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", fmt.Sprint("127.0.0.1:", 23_000+rand.IntN(9_000)))
		if err != nil {
			last = err
			continue
		}
		return l.Addr().String(), l.Close()
	}
	return "", last
}
