//go:build ceph && !long

package test

import "time"

// outageAtLeast is how long the store is away in TestCephOutage.
const outageAtLeast = 5 * time.Second
