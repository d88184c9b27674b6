package app

import (
	"log/slog"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
)

// What the packages below need of the configuration, in their own types.

func (c Config) grid(log *slog.Logger) grid.Config {
	g := grid.Config{
		Name: c.Grid.Name, Partitions: c.Grid.Partitions, Replicas: c.Grid.Replicas, SyncAlways: c.Grid.Sync == "always",
		MaxBytes: int64(c.Grid.MaxBytes), MaxMemory: int64(c.Grid.MaxMemory),
		MarkerTTL: time.Duration(c.Grid.MarkerTTL), Timeout: time.Duration(c.Grid.Timeout), Logger: log,
	}
	n, tls := c.Grid, c.Grid.TLS
	g.Access = grid.Access{
		Credentials: string(n.Credentials), NKey: string(n.NKey), User: n.User, Password: n.Password, Token: n.Token,
		CA: string(tls.CA), Cert: string(tls.Cert), Key: string(tls.Key),
	}
	if g.URL = c.Grid.URL; g.URL == "" {
		g.Dir = string(c.Node.Data)
	}
	if cl := c.Cluster; cl.set() {
		g.Timeout = time.Duration(cl.Timeout)
		g.Cluster = &grid.Cluster{
			Name: cl.Name, Node: c.Node.Name, Listen: cl.Listen, Seeds: cl.Seeds, Replicas: cl.Replicas, Secret: cl.Secret,
			Cert: string(cl.TLS.Cert), Key: string(cl.TLS.Key), CA: string(cl.TLS.CA), Grow: cl.Grow, Roles: c.roles(),
		}
	}
	return g
}

func (c CacheConfig) cache(name string) grid.CacheConfig {
	return grid.CacheConfig{
		Name: name, Class: grid.Class(c.Class), MaxEntries: c.MaxEntries, MaxBytes: int64(c.MaxBytes),
		MaxEntryBytes: int64(c.MaxEntryBytes), Lifespan: time.Duration(c.Lifespan), MaxIdle: time.Duration(c.MaxIdle),
		Evict: grid.Evict(c.Evict), Policy: grid.Policy(c.Policy), Store: c.Store, Write: grid.Write(c.Write), Preload: c.Preload,
		Consistency: grid.Consistency(c.Consistency),
		Near:        grid.NearConfig{MaxEntries: c.Near.MaxEntries, MaxBytes: int64(c.Near.MaxBytes), Staleness: time.Duration(c.Near.Staleness)},
	}
}

func (p PipelineConfig) pipeline(name string, log *slog.Logger) pipeline.Config {
	return pipeline.Config{
		Name: name, From: p.From, To: p.To, Errors: p.Errors, Model: p.Model, Version: int64(p.Version),
		MaxBatch: p.MaxBatch, Start: p.Start, OnRemove: p.OnRemove, Top: p.Top, Carry: p.Carry,
		RunTimeout: time.Duration(p.RunTimeout), MaxLag: time.Duration(p.MaxLag), SharesTarget: p.SharesTarget, Spread: p.Spread, Logger: log,
	}
}

func (c Config) serve() serve.Config {
	h := c.HTTP
	return serve.Config{
		Listen: h.Listen, Insecure: h.Insecure, TLS: serve.TLS{Cert: string(h.TLS.Cert), Key: string(h.TLS.Key)},
		Tokens: h.Tokens, CORS: h.CORS, Hosts: h.Hosts, Live: oip.IsLive, MaxConnections: h.Limits.Connections,
		MaxConnectionsPerAddress: h.Limits.ConnectionsPerAddress, MinBodyRate: int64(h.Limits.BodyRate), MaxHeaderBytes: int(h.Limits.Header),
		ReadHeaderTimeout: time.Duration(h.Timeouts.Header), ReadTimeout: time.Duration(h.Timeouts.Read),
		WriteTimeout: time.Duration(h.Timeouts.Write), IdleTimeout: time.Duration(h.Timeouts.Idle),
		DrainTimeout: time.Duration(h.Timeouts.Drain), AccessLog: c.Log.Requests, Public: public,
	}
}
