package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/cluster"
)

// clusterCollector gives Prometheus what a node of a cluster knows of it. No other node is asked, so that a scrape costs the same at any size.
type clusterCollector struct{ m *cluster.Manager }

var (
	clusterNodes      = prometheus.NewDesc("millrace_cluster_nodes", "Nodes that the cluster has, those that are away included.", nil, nil)
	clusterThere      = prometheus.NewDesc("millrace_cluster_nodes_there", "Nodes that are there now, as this one sees it.", nil, nil)
	clusterState      = prometheus.NewDesc("millrace_cluster_rebalancing", "1 for the state that rebalancing is in now (even, moving, paused, waiting, or unknown where no controller is heard), 0 for the others.", []string{"state"}, nil)
	clusterPaused     = prometheus.NewDesc("millrace_cluster_rebalancing_paused", "1 where somebody paused rebalancing: no new move is begun.", nil, nil)
	clusterMoves      = prometheus.NewDesc("millrace_cluster_moves", "Replicas on their way from one node to another.", nil, nil)
	clusterDone       = prometheus.NewDesc("millrace_cluster_moves_done", "Replicas that have arrived since the shares were even last.", nil, nil)
	clusterPlanned    = prometheus.NewDesc("millrace_cluster_moves_planned", "Those, with the ones on their way and those that are still to move.", nil, nil)
	clusterLeaderless = prometheus.NewDesc("millrace_cluster_partitions_without_leader", "Streams of partitions, and of the grid's description, that nobody leads: nothing can be written to them. Absent where the controller cannot look.", nil, nil)
	clusterBehind     = prometheus.NewDesc("millrace_cluster_replicas_behind", "Replicas on nodes that are there which do not have everything yet.", nil, nil)
	clusterOffline    = prometheus.NewDesc("millrace_cluster_replicas_offline", "Replicas on nodes that are away.", nil, nil)
)

// Describe sends what Collect may send.
func (c clusterCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		clusterNodes, clusterThere, clusterState, clusterPaused, clusterMoves, clusterDone, clusterPlanned, clusterLeaderless, clusterBehind, clusterOffline,
	} {
		ch <- d
	}
}

// Collect sends what the node has heard. What nobody knows at the moment is left out.
func (c clusterCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.m.Summary()
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	is := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	gauge(clusterNodes, s.Known)
	gauge(clusterThere, s.There)
	r := s.Rebalancing
	for _, state := range []string{cluster.Evenly, cluster.Moving, cluster.Paused, cluster.Waiting, cluster.Unknown} {
		gauge(clusterState, is(state == r.State), state)
	}
	if r.State != cluster.Unknown {
		gauge(clusterPaused, is(r.Paused))
		gauge(clusterMoves, len(r.Current))
		gauge(clusterDone, r.Done)
		gauge(clusterPlanned, r.Total)
	}
	if h := s.Health; h != nil {
		gauge(clusterLeaderless, h.Leaderless)
		gauge(clusterBehind, h.Behind)
		gauge(clusterOffline, h.Offline)
	}
}
