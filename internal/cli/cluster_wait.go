package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/client"
)

// evenFor is how long a cluster has to be even: of a node that comes others hear at once, and the controller within two seconds, when it looks next.
const evenFor = 3 * time.Second

// waitEven asks until nothing is left to be done, and returns the cluster as it is then. It says on stderr what it waits for. A node that does not answer yet, or not
// now, is asked again; one that refuses is not. limit is how long all that may take, 0 for as long as it takes.
func (c *command) waitEven(ctx context.Context, cl *client.Client, limit time.Duration) (cluster.Status, error) {
	waiting, cancel := ctx, func() {}
	if limit > 0 {
		waiting, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	said := ""
	var since time.Time // it is even
	for {
		s, err := cl.Cluster(waiting)
		var refused *client.Error
		var why string
		switch {
		case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
			return s, fmt.Errorf("ask for the cluster: %w", err)
		case refused != nil:
			told := *refused
			told.ID = "" // another one each time
			why = told.Error()
		case err != nil:
			why = err.Error()
		case s.Cluster == "":
			return s, fmt.Errorf("node %s is alone: its configuration has no cluster to wait for", s.Node)
		default:
			why = unsettled(s)
		}
		if why != "" {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		} else if time.Since(since) >= evenFor {
			return s, nil
		}
		if why != "" && why != said && waiting.Err() == nil {
			said = why
			fmt.Fprintln(c.Stderr, why)
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return s, ctx.Err()
			}
			return s, fmt.Errorf("the cluster is not even after %v: %s", limit, said)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// unsettled says what of a cluster is not as it is to be: all nodes there, each partition led and owned, all replicas up to date, and nothing to move. "" where
// all that is so.
func unsettled(s cluster.Status) string {
	var away []string
	for _, n := range s.Nodes {
		if !n.Connected {
			away = append(away, n.Name)
		}
	}
	if len(away) > 0 {
		return "away: " + strings.Join(away, ", ")
	}
	if s.Rebalancing.State != cluster.Evenly || len(s.Rebalancing.Current) > 0 {
		return rebalancing(s.Rebalancing)
	}
	for _, p := range s.Partitions {
		what := fmt.Sprintf("%s partition %d", p.Class, p.Partition)
		behind := slices.IndexFunc(p.Replicas, func(r cluster.Replica) bool { return r.State != "current" })
		switch {
		case p.Error != "":
			return what + ": " + p.Error
		case p.Leader == "":
			return what + " has no leader"
		case p.Owner == "":
			return what + " has no owner"
		case behind >= 0:
			return fmt.Sprintf("%s: the replica on %s is %s", what, p.Replicas[behind].Node, p.Replicas[behind].State)
		}
	}
	return ""
}
