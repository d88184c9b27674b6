package app

import (
	"time"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
)

// Defaults returns the configuration of a node that was told nothing: it listens on loopback and has no pipelines.
func Defaults() Config {
	return Config{
		Node: NodeConfig{Name: "n1", Data: "data", Roles: allRoles()},
		HTTP: HTTPConfig{
			Listen:   "127.0.0.1:8080",
			Limits:   HTTPLimits{InferBody: 64 << 20, ModelBody: 1 << 30, Header: 64 << 10, Connections: 1024, ConnectionsPerAddress: 512, BodyRate: 1 << 10},
			Timeouts: HTTPTimeouts{Header: 10 * second, Read: 60 * second, Write: 60 * second, Infer: 60 * second, Idle: 120 * second, Drain: 30 * second},
		},
		Listeners: ListenersConfig{MaxBytes: 256 << 20, MaxBytesEach: 16 << 20},
		Grid:      GridConfig{Name: "millrace", Sync: "interval", MarkerTTL: 3600 * second, Timeout: 5 * second},
		Cluster:   ClusterConfig{Replicas: 3, Timeout: 15 * second, Grace: 600 * second, Moves: 1},
		Engine:    "auto",
		Engines: EnginesConfig{
			Native:      NativeConfig{MaxTensorBytes: 2 << 30, MaxRunBytes: 4 << 30},
			ONNXRuntime: ONNXRuntimeConfig{Device: "cpu"},
		},
		Log: LogConfig{Level: "info", Format: "text"},
	}
}

// Complete sets what the caches, models and pipelines were not told. Calling it again changes nothing.
func (c *Config) Complete() {
	for name, cache := range c.Caches {
		setDefault(&cache.Class, "durable")
		setDefault(&cache.MaxEntryBytes, 1<<20)
		c.Caches[name] = cache
	}
	for name, s := range c.Stores {
		setDefault(&s.MaxLagEntries, cold.DefaultLagEntries)
		setDefault(&s.MaxLagBytes, cold.DefaultLagBytes)
		c.Stores[name] = s
	}
	for name, m := range c.Models {
		setDefault(&m.Engine, c.Engine)
		setDefault(&m.Keep, registry.DefaultKeep)
		c.Models[name] = m
	}
	for name, p := range c.Pipelines {
		setDefault(&p.Errors, name+"-errors")
		setDefault(&p.MaxBatch, 256)
		setDefault(&p.Start, "all")
		setDefault(&p.OnRemove, "remove")
		setDefault(&p.Top, 20)
		setDefault(&p.RunTimeout, Duration(pipeline.DefaultRunTimeout))
		setDefault(&p.Spread, pipeline.SpreadAuto)
		c.Pipelines[name] = p
	}
}

const second = Duration(time.Second)

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
