package app

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Fault is one thing that is wrong with a Config.
type Fault struct {
	// Path is the key, such as "caches.digits.max_value".
	Path string
	// Msg says what is wrong and what would be right.
	Msg string
}

func (f Fault) String() string { return f.Path + ": " + f.Msg }

// ConfigErrors is everything that is wrong with a Config, as the error of Validate.
type ConfigErrors []Fault

func (fs ConfigErrors) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// MaxEntryBytes is the largest value that an entry can have.
const MaxEntryBytes Size = 8 << 20

var (
	nameRE     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	gridNameRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	deviceRE   = regexp.MustCompile(`^(cpu|cuda:[0-9]{1,3})?$`)
)

const nameHint = "a name has 1 to 64 letters, digits, _ and -"

// Validate reports every fault of a complete Config at once, as ConfigErrors, or nil. It looks at the Config alone: neither
// at files nor at the network.
func (c *Config) Validate() error {
	v := &validator{}
	v.name("node.name", c.Node.Name)
	v.check(c.Node.Data != "", "node.data", "must name a folder")
	v.http(&c.HTTP)
	v.grid(&c.Grid)
	v.oneOf("engine", c.Engine, "auto", "native", "onnxruntime")
	v.atLeast("engines.native.threads", int64(c.Engines.Native.Threads), 0)
	v.atLeast("engines.onnxruntime.threads", int64(c.Engines.ONNXRuntime.Threads), 0)
	v.device("engines.onnxruntime.device", c.Engines.ONNXRuntime.Device)
	for _, name := range slices.Sorted(maps.Keys(c.Caches)) {
		v.cache("caches."+name, name, c.Caches[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		v.model("models."+name, name, c.Models[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pipelines)) {
		v.pipeline("pipelines."+name, name, c.Pipelines[name])
	}
	v.cycles(c.Pipelines)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "text", "json")
	if len(v.faults) > 0 {
		return v.faults
	}
	return nil
}

type validator struct{ faults ConfigErrors }

func (v *validator) check(ok bool, path, format string, args ...any) {
	if !ok {
		v.faults = append(v.faults, Fault{path, fmt.Sprintf(format, args...)})
	}
}

func (v *validator) name(path, s string) { v.check(nameRE.MatchString(s), path, "%q: %s", s, nameHint) }

func (v *validator) oneOf(path, s string, allowed ...string) {
	v.check(slices.Contains(allowed, s), path, "%q must be one of %s", s, strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
}

func (v *validator) finite(path string, numbers ...float64) {
	for _, n := range numbers {
		v.check(!math.IsNaN(n) && !math.IsInf(n, 0), path, "%v is not a finite number", n)
	}
}

func (v *validator) atLeast(path string, n, least int64) {
	v.check(n >= least, path, "%d must be at least %d", n, least)
}

func (v *validator) device(path, s string) {
	v.check(deviceRE.MatchString(s), path, "%q must be cpu or cuda:N", s)
}

func (v *validator) http(h *HTTPConfig) {
	host, port, err := net.SplitHostPort(h.Listen)
	if err != nil {
		v.check(false, "http.listen", "%q is not HOST:PORT, such as 127.0.0.1:8080", h.Listen)
	} else {
		_, err := strconv.ParseUint(port, 10, 16)
		v.check(err == nil, "http.listen", "%q is not a port from 0 to 65535", port)
		v.check(isLoopback(host) || len(h.Tokens) > 0 || h.Insecure, "http.listen",
			"%s is reached from other machines: set http.tokens, or http.insecure (--insecure) to allow it without", h.Listen)
	}
	v.check((h.TLS.Cert == "") == (h.TLS.Key == ""), "http.tls", "needs both cert and key")
	for i, t := range h.Tokens {
		path := fmt.Sprintf("http.tokens[%d]", i)
		v.check(len(t) >= 16, path, "has %d characters; a token has at least 16", len(t))
		v.check(strings.IndexFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) < 0, path,
			"has characters that a header cannot carry; use visible ASCII without spaces")
	}
	for i, o := range h.CORS {
		u, err := url.Parse(o)
		v.check(o == "*" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Scheme+"://"+u.Host == o,
			fmt.Sprintf("http.cors[%d]", i), "%q is not an origin such as https://example.com", o)
	}
	v.between("http.limits.infer_body", h.Limits.InferBody, 1<<10, 1<<40)
	v.between("http.limits.model_body", h.Limits.ModelBody, 1<<10, 2<<30)
	v.between("http.limits.header", h.Limits.Header, 4<<10, 1<<20)
	v.atLeast("http.limits.connections", int64(h.Limits.Connections), 1)
	for _, t := range []struct {
		key string
		d   Duration
	}{
		{"header", h.Timeouts.Header}, {"read", h.Timeouts.Read}, {"write", h.Timeouts.Write},
		{"idle", h.Timeouts.Idle}, {"drain", h.Timeouts.Drain},
	} {
		v.check(t.d > 0, "http.timeouts."+t.key, "must be more than 0")
	}
}

func (v *validator) between(path string, s, least, most Size) {
	v.check(s >= least && s <= most, path, "%v must be from %v to %v", s, least, most)
}

func (v *validator) grid(g *GridConfig) {
	v.check(gridNameRE.MatchString(g.Name), "grid.name", "%q: it has 1 to 32 letters, digits, _ and -", g.Name)
	v.check(g.Partitions == 0 || g.Partitions > 0 && g.Partitions <= 256 && bits.OnesCount(uint(g.Partitions)) == 1,
		"grid.partitions", "%d must be a power of two from 1 to 256, or 0", g.Partitions)
	v.oneOf("grid.sync", g.Sync, "interval", "always")
	v.check(g.MarkerTTL >= second, "grid.marker_ttl", "%v must be at least 1s", g.MarkerTTL)
	v.check(g.Timeout > 0, "grid.timeout", "must be more than 0")
	if g.URL == "" {
		return
	}
	u, err := url.Parse(g.URL)
	v.check(err == nil && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) && u.Host != "",
		"grid.url", "%q is not an address such as nats://host:4222", g.URL)
	v.check(g.Sync != "always", "grid.sync", "is a setting of the server at grid.url")
	v.check(g.MaxBytes == 0, "grid.max_bytes", "is a setting of the server at grid.url")
	v.check(g.MaxMemory == 0, "grid.max_memory", "is a setting of the server at grid.url")
}

func (v *validator) cache(path, name string, c CacheConfig) {
	v.name(path, name)
	v.check(!strings.HasPrefix(name, "_"), path, "names that begin with _ are the system's")
	v.oneOf(path+".class", c.Class, "durable", "volatile")
	v.atLeast(path+".max_entries", c.MaxEntries, 0)
	v.between(path+".max_entry_bytes", c.MaxEntryBytes, 1, MaxEntryBytes)
	v.check(c.Lifespan == 0 || c.Lifespan >= second/1000, path+".lifespan", "%v must be at least 1ms", c.Lifespan)
}

func (v *validator) model(path, name string, m ModelConfig) {
	v.name(path, name)
	v.check(m.Path != "", path+".path", "must name an ONNX file or a folder of versions")
	v.oneOf(path+".engine", m.Engine, "auto", "native", "onnxruntime")
	v.device(path+".device", m.Device)
	v.atLeast(path+".threads", int64(m.Threads), 0)
	if m.Scale != nil {
		v.finite(path+".scale", *m.Scale)
	}
	v.finite(path+".mean", m.Mean...)
	v.finite(path+".std", m.Std...)
	v.oneOf(path+".invert", m.Invert, "", "auto", "true", "false")
	v.oneOf(path+".layout", m.Layout, "", "NCHW", "NHWC")
	v.oneOf(path+".centre", m.Centre, "", "mnist", "none")
	v.oneOf(path+".orientation", m.Orientation, "", "exif", "ignore")
	v.oneOf(path+".output", m.Output, "", "auto", "probabilities", "logits", "log_probabilities")
}

func (v *validator) pipeline(path, name string, p PipelineConfig) {
	v.name(path, name)
	for _, f := range []struct{ key, s string }{{"from", p.From}, {"model", p.Model}, {"to", p.To}, {"errors", p.Errors}} {
		if f.s == "" {
			v.check(false, path+"."+f.key, "is required")
			continue
		}
		v.name(path+"."+f.key, f.s)
	}
	v.check(p.Errors != p.To, path+".errors", "must be another cache than to")
	v.check(p.Errors != p.From, path+".errors", "must be another cache than from")
	v.atLeast(path+".version", int64(p.Version), 0)
	v.check(p.MaxBatch >= 1 && p.MaxBatch <= 4096, path+".max_batch", "%d must be from 1 to 4096", p.MaxBatch)
	v.oneOf(path+".start", p.Start, "all", "new")
	v.oneOf(path+".on_remove", p.OnRemove, "remove", "keep")
	v.check(p.Top >= 1 && p.Top <= 1000, path+".top", "%d must be from 1 to 1000", p.Top)
}

// cycles refuses pipelines whose results come back as their own inputs: they would never rest.
func (v *validator) cycles(pipelines map[string]PipelineConfig) {
	next := map[string][]string{}
	for _, p := range pipelines {
		next[p.From] = append(next[p.From], p.To)
	}
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		p := pipelines[name]
		if p.From != "" && p.To != "" && reaches(next, p.To, p.From, map[string]bool{}) {
			v.check(false, "pipelines."+name+".to", "what is written to %q comes back to %q, so the pipeline would feed itself", p.To, p.From)
		}
	}
}

func reaches(next map[string][]string, from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(next[from], func(n string) bool { return reaches(next, n, to, seen) })
}

// isLoopback reports whether a host of http.listen is reached from this machine alone. The empty host is every address.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
