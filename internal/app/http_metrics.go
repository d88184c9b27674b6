package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/serve"
)

// httpCollector gives Prometheus what the HTTP server counted.
type httpCollector struct{ server *serve.Server }

var (
	httpConnections = prometheus.NewDesc("millrace_http_connections", "Open connections, but for those that are being refused.", nil, nil)
	httpRefusing    = prometheus.NewDesc("millrace_http_connections_refusing", "Connections over a limit that are open for the moment in which they are told so.", nil, nil)
	httpRefused     = prometheus.NewDesc("millrace_http_connections_refused_total", "Connections that were over a limit.", []string{"limit"}, nil)
	httpSlow        = prometheus.NewDesc("millrace_http_slow_requests_total", "Requests of which a part did not come in time, or at its rate.", []string{"part"}, nil)
	httpIdle        = prometheus.NewDesc("millrace_http_idle_connections_total", "Connections that were closed because no request came.", nil, nil)
	httpAmbiguous   = prometheus.NewDesc("millrace_http_ambiguous_requests_total", "Requests with both Content-Length and Transfer-Encoding, which are refused.", nil, nil)
)

// Describe sends what Collect sends.
func (httpCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{httpConnections, httpRefusing, httpRefused, httpSlow, httpIdle, httpAmbiguous} {
		ch <- d
	}
}

// Collect asks the server.
func (c httpCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.server.Stats()
	ch <- prometheus.MustNewConstMetric(httpConnections, prometheus.GaugeValue, float64(s.Connections))
	ch <- prometheus.MustNewConstMetric(httpRefusing, prometheus.GaugeValue, float64(s.Refusing))
	for limit, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(httpRefused, prometheus.CounterValue, float64(n), limit)
	}
	ch <- prometheus.MustNewConstMetric(httpSlow, prometheus.CounterValue, float64(s.SlowHeaders), "header")
	ch <- prometheus.MustNewConstMetric(httpSlow, prometheus.CounterValue, float64(s.SlowBodies), "body")
	ch <- prometheus.MustNewConstMetric(httpIdle, prometheus.CounterValue, float64(s.Idle))
	ch <- prometheus.MustNewConstMetric(httpAmbiguous, prometheus.CounterValue, float64(s.Ambiguous))
}
