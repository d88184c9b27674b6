package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/registry"
)

// SetCache makes a cache as config says, or with exists has one that is there be so: what config leaves out has its default then. With dryRun it says
// only what would be refused.
func (c *Client) SetCache(ctx context.Context, config grid.CacheConfig, exists, dryRun bool) (would CacheConfig, err error) {
	type near struct {
		MaxEntries int64  `json:"max_entries"`
		MaxBytes   int64  `json:"max_bytes"`
		Staleness  string `json:"staleness"`
	}
	all := struct { // every key, so that nothing of what there was stays
		Class         string `json:"class"`
		MaxEntries    int64  `json:"max_entries"`
		MaxBytes      int64  `json:"max_bytes"`
		MaxEntryBytes int64  `json:"max_entry_bytes"`
		Lifespan      string `json:"lifespan"`
		MaxIdle       string `json:"max_idle"`
		Evict         string `json:"evict"`
		Policy        string `json:"policy"`
		Store         string `json:"store"`
		Write         string `json:"write"`
		Preload       string `json:"preload"`
		Consistency   string `json:"consistency"`
		Near          *near  `json:"near"`
	}{
		string(config.Class), config.MaxEntries, config.MaxBytes, config.MaxEntryBytes, config.Lifespan.String(), config.MaxIdle.String(), string(config.Evict),
		string(config.Policy), config.Store, string(config.Write), config.Preload, string(config.Consistency), nil,
	}
	if n := config.Near; n != (grid.NearConfig{}) {
		all.Near = &near{n.MaxEntries, n.MaxBytes, n.Staleness.String()}
	}
	body, err := json.Marshal(all)
	if err != nil {
		return would, err
	}
	method, path := http.MethodPost, cachePath(config.Name)
	if exists {
		method = http.MethodPut
	}
	if dryRun {
		err = c.getAs(ctx, method, path+"?dry_run=true", "application/json", body, &would)
		return would, err
	}
	return would, c.ask(ctx, method, path, body, http.Header{"Content-Type": {"application/json"}})
}

// CacheConfig returns the configuration of a cache, with its defaults.
func (c *Client) CacheConfig(ctx context.Context, cache string) (config CacheConfig, err error) {
	err = c.get(ctx, http.MethodGet, cachePath(cache)+"?action=config", nil, &config)
	return config, err
}

// CheckModel says what would be refused of a model that PushModel sends and that runs with settings.
func (c *Client) CheckModel(ctx context.Context, name string, version int64, file []byte, replace bool, s registry.Settings) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	q := url.Values{"dry_run": {"true"}, "settings": {string(text)}}
	if replace {
		q.Set("replace", "true")
	}
	return c.ask(ctx, http.MethodPut, modelPath(name, version)+"?"+q.Encode(), file, nil)
}

// ModelSettings returns what the grid keeps of how a model runs.
func (c *Client) ModelSettings(ctx context.Context, name string) (s registry.Settings, err error) {
	err = c.get(ctx, http.MethodGet, modelPath(name, 0)+"/settings", nil, &s)
	return s, err
}

// ConfigureModel sets that.
func (c *Client) ConfigureModel(ctx context.Context, name string, s registry.Settings) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return c.ask(ctx, http.MethodPut, modelPath(name, 0)+"/settings", body, http.Header{"Content-Type": {"application/json"}})
}
