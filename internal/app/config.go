// Package app wires a node together: it turns a Config into the grid, the registry, the pipelines and the servers, and
// runs them. Reading flags, the environment and files is left to package cli.
package app

// Config is everything that a node can be told. Its fields' comments are the text of docs/config.md.
// A Config is plain data: start from Defaults, change fields, and call
// Complete and Validate.
type Config struct {
	// The node itself.
	Node NodeConfig `yaml:"node"`
	// The HTTP server: REST, the Open Inference Protocol, the page, metrics and health.
	HTTP HTTPConfig `yaml:"http"`
	// What may wait in memory for the readers of event streams.
	Listeners ListenersConfig `yaml:"listeners"`
	// The grid that holds all entries.
	Grid GridConfig `yaml:"grid"`
	// The other nodes, where the grid is kept by several. Without it the node is alone.
	Cluster ClusterConfig `yaml:"cluster"`
	// Which engine runs models that do not name one: `auto` (onnxruntime where its library is found, else native), `native` or `onnxruntime`.
	Engine string `yaml:"engine"`
	// Settings of the engines.
	Engines EnginesConfig `yaml:"engines"`
	// A folder of models laid out as `NAME/VERSION/model.onnx`, served beside those under `models`. `serve --models DIR` sets it.
	ModelRepository Path `yaml:"model_repository"`
	// Stores by name: where caches keep what is not in memory.
	Stores map[string]StoreConfig `yaml:"stores"`
	// Caches by name. In a cluster these, models and pipelines are the grid's, and every node has the same: `millrace apply -f FILE` sets them, from a file with
	// these three sections. What the file of a node has goes into the grid where it has nothing of that name; otherwise the grid's stays, and the node warns.
	// A cache that a pipeline names and that is not here is made with the defaults; clients make others by `POST`.
	Caches map[string]CacheConfig `yaml:"caches"`
	// Models by name. In a cluster as caches, but for folders of versions, which each node has for itself.
	Models map[string]ModelConfig `yaml:"models"`
	// Pipelines by name; in a cluster as caches. Each reads a cache, runs a model and writes another cache.
	Pipelines map[string]PipelineConfig `yaml:"pipelines"`
	// What is logged, and how.
	Log LogConfig `yaml:"log"`
}

// NodeConfig describes the node itself.
type NodeConfig struct {
	// The node's name in logs and in the grid; letters, digits, `_` and `-`.
	Name string `yaml:"name"`
	// The folder that holds the node's data. Only one process at a time can use it.
	Data Path `yaml:"data"`
	// What the node does in a cluster, all of it where this is not there: `grid` has replicas of partitions and looks after them, `compute` opens models and runs pipelines, `door` answers clients. Other nodes do what
	// it does not, and a node without a cluster has all roles. One without `door` answers health, metrics, `/rest/v2/stats` and `/rest/v2/cluster` alone.
	Roles []string `yaml:"roles"`
}

// HTTPConfig describes the HTTP server.
type HTTPConfig struct {
	// The address to listen on, as `HOST:PORT`; port 0 takes a free one. Beyond loopback a token is needed, or `insecure`.
	Listen string `yaml:"listen"`
	// Serves HTTPS where both files are named.
	TLS TLSConfig `yaml:"tls"`
	// Secrets that clients send as `Authorization: Bearer TOKEN`; at least 16 characters each. Without any, requests need none.
	Tokens []string `yaml:"tokens"`
	// Origins of web pages that may use this server from a browser, such as `https://example.com`.
	CORS []string `yaml:"cors"`
	// Names that requests without a token may use for this node, beside those of loopback (`localhost`, `*.localhost`, `127.0.0.0/8`, `[::1]`), such as
	// `node.example.com` behind a proxy. A request with another `Host` gets 421: a web page may have pointed its name at this machine. Where
	// `tokens` are set, any name does.
	Hosts []string `yaml:"hosts"`
	// Allows listening beyond loopback without a token. There an address is always a right `Host`, and a name where `hosts` is empty or lists it.
	Insecure bool `yaml:"insecure"`
	// A folder with MNIST's IDX files (gzip or not), whose digits the page's wall of samples then shows instead of written ones.
	MNIST Path `yaml:"mnist"`
	// Marks the node as a demonstration: its page then offers to put many entries at once. `millrace demo` sets it.
	Demo bool `yaml:"demo"`
	// Serves Go's profiles under `/debug/pprof/`.
	Debug bool `yaml:"debug"`
	// Limits; over them a request gets a clear error at once.
	Limits HTTPLimits `yaml:"limits"`
	// Time limits of connections and requests.
	Timeouts HTTPTimeouts `yaml:"timeouts"`
}

// TLSConfig names the files of HTTPS.
type TLSConfig struct {
	// The certificate, with its chain, in PEM.
	Cert Path `yaml:"cert"`
	// The private key, in PEM.
	Key Path `yaml:"key"`
}

// HTTPLimits bound what clients can ask for.
type HTTPLimits struct {
	// The largest body of an inference request, after decompression.
	InferBody Size `yaml:"infer_body"`
	// The largest model that can be put.
	ModelBody Size `yaml:"model_body"`
	// The largest header of a request.
	Header Size `yaml:"header"`
	// The most connections at a time; a request on one beyond gets 503 with `Retry-After`, and the connection is closed. `GET /v2/health/live` is
	// answered there too. As many again (256 at least) may be open for that moment, 10 seconds at most.
	Connections int `yaml:"connections"`
	// The most connections at a time from one address (IPv6: one network of 64 bits); those beyond get 503 in the same way.
	ConnectionsPerAddress int `yaml:"connections_per_address"`
	// How many bytes of a body have to come a second, in the mean of the time that the server waits for it, once that is more than `timeouts.header`;
	// a slower one gets 408.
	BodyRate Size `yaml:"body_rate"`
}

// HTTPTimeouts bound how long clients may take.
type HTTPTimeouts struct {
	// For the request's header; over it the answer is 408, and the connection is closed.
	Header Duration `yaml:"header"`
	// For the whole request with its body; large bodies have more as long as data comes.
	Read Duration `yaml:"read"`
	// For an answer; streams have more as long as data goes.
	Write Duration `yaml:"write"`
	// For one run of a model for a request of the Open Inference Protocol; over it the run is cancelled, and the answer is `timeout` (504).
	Infer Duration `yaml:"infer"`
	// For a connection that waits for its next request; it is closed.
	Idle Duration `yaml:"idle"`
	// For finishing, at a stop, what was accepted.
	Drain Duration `yaml:"drain"`
}

// ListenersConfig bounds the memory of event streams.
type ListenersConfig struct {
	// The most bytes that wait for all readers of event streams together, with 256 KiB for each open stream (the buffers of its socket and of what it
	// writes). Over it the streams end whose readers have taken nothing for longest: each is told (`listener_behind`), and comes back with the id
	// of its last event. Where no stream waits, one more gets 503.
	MaxBytes Size `yaml:"max_bytes"`
	// The most bytes that wait for one reader; over them its stream ends in the same way. Two events wait whatever their size.
	MaxBytesEach Size `yaml:"max_bytes_each"`
}

// GridConfig describes the grid.
type GridConfig struct {
	// An external NATS server with JetStream, 2.14 or newer, such as `nats://host:4222`, instead of the node's own folder; or several of one cluster with commas
	// between.
	URL string `yaml:"url"`
	// Of `url`: a file that says who the node is, with a user's JWT and seed, as `nsc generate creds` writes it.
	Credentials Path `yaml:"credentials"`
	// Of `url`: a file with an nkey's seed, in place of `credentials`.
	NKey Path `yaml:"nkey"`
	// Of `url`: a user's name, in place of `credentials`.
	User string `yaml:"user"`
	// Of `url`: the user's password.
	Password string `yaml:"password"`
	// Of `url`: a token, in place of `credentials`.
	Token string `yaml:"token"`
	// Of `url`: what makes the connections secret, where the address begins with `tls://` or the server asks for it.
	TLS GridTLSConfig `yaml:"tls"`
	// Separates grids that share one NATS cluster: 1 to 32 letters, digits, `_` and `-`.
	Name string `yaml:"name"`
	// How many servers of that cluster have each partition: 1, 3 or 5. 0 leaves it as it is, 1 for a new grid. Changing it has the servers copy, or drop,
	// what there is. With `url` only.
	Replicas int `yaml:"replicas"`
	// The number of partitions, a power of two up to 256, fixed when the grid is made. 0 takes what the grid has, or 8 for a new one.
	Partitions int `yaml:"partitions"`
	// When files are synced to the disk: `interval` (every 2 minutes) or `always` (before a put is answered). A killed process loses
	// nothing either way; a power cut may lose what the interval has not synced. Not with `url`.
	Sync string `yaml:"sync"`
	// The most bytes on the disk; over them puts fail with code 507. 0 is no limit but the disk. Not with `url`.
	MaxBytes Size `yaml:"max_bytes"`
	// The most bytes in memory for caches of the volatile class; over them puts fail with code 507. 0 is no limit. Not with `url`.
	MaxMemory Size `yaml:"max_memory"`
	// The most entries in memory of all caches together that can evict, on this node. 0 is no limit.
	CacheEntries int64 `yaml:"cache_entries"`
	// The most bytes of their values in memory. 0 is no limit.
	CacheBytes Size `yaml:"cache_bytes"`
	// How long the removal or expiry of an entry is remembered, for listeners and stores that were away.
	MarkerTTL Duration `yaml:"marker_ttl"`
	// For an operation of the grid that has no time limit of its own.
	Timeout Duration `yaml:"timeout"`
}

// GridTLSConfig names the files of connections to an external NATS server.
type GridTLSConfig struct {
	// The certificates that the server's must come from, in PEM; those that the system trusts if empty.
	CA Path `yaml:"ca"`
	// The node's own certificate, in PEM, where the server asks for one.
	Cert Path `yaml:"cert"`
	// Its private key, in PEM.
	Key Path `yaml:"key"`
}

// ClusterConfig describes the cluster that a node is one of. All nodes have the same `name`, `replicas` and `secret`, and `grid.name` and `grid.partitions`
// where these are set; each has its own `node.name` and `node.data`, and keeps both.
type ClusterConfig struct {
	// The cluster's name: 1 to 64 letters, digits, `_` and `-`.
	Name string `yaml:"name"`
	// The address for the other nodes, as `HOST:PORT`. It has nothing to do with `http.listen`.
	Listen string `yaml:"listen"`
	// The `cluster.listen` addresses of other nodes. Any one that answers leads to all nodes; one at least is needed.
	Seeds []string `yaml:"seeds"`
	// How many nodes have each partition: 1, 3 or 5, fixed when the grid is made, which waits for so many nodes. With 3 the grid loses nothing, and goes on,
	// without any one of them, with 5 without any two.
	Replicas int `yaml:"replicas"`
	// What the nodes prove to each other, 16 characters at least. Without `tls`, whoever listens on the network between them can join.
	Secret string `yaml:"secret"`
	// Has a new cluster wait for the grid of a node alone, which `millrace cluster grow` brings, in place of making one. Set it on all nodes, and leave it while that
	// node still answers; it needs `secret`. Where there is a grid it changes nothing.
	Grow bool `yaml:"grow"`
	// Encrypts what goes between the nodes, and has only those in that `ca` signed.
	TLS ClusterTLSConfig `yaml:"tls"`
	// For an operation of the grid, in place of `grid.timeout`: where a node dies, its partitions have new leaders within about 5 s, and what was to be written there
	// waits for that.
	Timeout Duration `yaml:"timeout"`
	// How long a node that is gone is waited for, which keeps its replicas meanwhile. Then its share is built again on other nodes, where there are enough.
	Grace Duration `yaml:"grace"`
	// How many replicas are moved from one node to another at a time, when nodes come and go.
	Moves int `yaml:"moves"`
}

// ClusterTLSConfig names the files with which nodes trust each other.
type ClusterTLSConfig struct {
	// The node's certificate, with its chain, in PEM: for servers and for clients, with the hosts of `listen` and of the other nodes' `seeds` in it.
	Cert Path `yaml:"cert"`
	// Its private key, in PEM.
	Key Path `yaml:"key"`
	// The certificates that signed those of all nodes, in PEM.
	CA Path `yaml:"ca"`
}

// set reports whether the node is one of a cluster.
func (c ClusterConfig) set() bool {
	d := Defaults().Cluster
	return c.Name != "" || c.Listen != "" || len(c.Seeds) > 0 || c.Secret != "" || c.TLS != (ClusterTLSConfig{}) || c.Grow || c.Replicas != d.Replicas || c.Timeout != d.Timeout ||
		c.Grace != d.Grace || c.Moves != d.Moves
}

// EnginesConfig holds the engines' settings.
type EnginesConfig struct {
	// The pure Go engine.
	Native NativeConfig `yaml:"native"`
	// The engine over the onnxruntime library.
	ONNXRuntime ONNXRuntimeConfig `yaml:"onnxruntime"`
}

// NativeConfig holds the native engine's settings.
type NativeConfig struct {
	// How many goroutines one run may use; 0 leaves it to the engine.
	Threads int `yaml:"threads"`
	// The most bytes that one tensor of a run may have; a run that needs more fails with `too_large` (413).
	MaxTensorBytes Size `yaml:"max_tensor_bytes"`
	// The most bytes that all tensors of one run may have at a time, beside the weights; a run that needs more fails with `too_large` (413).
	MaxRunBytes Size `yaml:"max_run_bytes"`
}

// ONNXRuntimeConfig holds onnxruntime's settings.
type ONNXRuntimeConfig struct {
	// The shared library. Where this is empty it is looked for in `ONNXRUNTIME_SHARED_LIBRARY_PATH`, Millrace's own folder and the system's.
	Library Path `yaml:"library"`
	// How many threads one run may use; 0 leaves it to the engine.
	Threads int `yaml:"threads"`
	// Where models run: `cpu` or `cuda:N`.
	Device string `yaml:"device"`
	// Whether models on CUDA devices may round the operands of products to 10 bits, for speed: results are off by up to some percent then.
	TF32 bool `yaml:"tf32"`
	// The most bytes of a CUDA device's memory that each model may take; 0 is no limit. A run that needs more fails with `too_large` (413).
	MemoryLimit Size `yaml:"memory_limit"`
	// Session settings by name, as `millrace engine ls` lists them.
	Settings map[string]string `yaml:"settings"`
}

// CacheConfig describes one cache.
type CacheConfig struct {
	// `durable` (on the disk) or `volatile` (in memory). What is volatile is gone after a restart; with a store, a node alone has what an orderly stop saved there. In a
	// cluster the nodes that stay have it, and it is gone when most of them have ended at a time, or one after the other until none is left.
	Class string `yaml:"class" default:"durable"`
	// The most entries in memory; over them `evict` says what happens. 0 is no limit.
	MaxEntries int64 `yaml:"max_entries" default:"0"`
	// The most bytes of values in memory; over them `evict` says what happens. 0 is no limit.
	MaxBytes Size `yaml:"max_bytes" default:"0"`
	// What happens when the cache is full: entries that nobody needed lately are kept in the store alone (`store`), or end with an expired event
	// (`drop`); or a put of a new key fails with code 507 (`refuse`). With the first two a put waits for room, and fails with code 507 where
	// nothing can leave: while the store or a pipeline stands still.
	Evict string `yaml:"evict" default:"store with a store, else refuse"`
	// How it is told what nobody needed lately: `tinylfu` (how often and how recently), `s3fifo` (alike, with less work a read) or `lru`.
	Policy string `yaml:"policy" default:"tinylfu"`
	// The store, of those under `stores`, that gets everything that is put.
	Store string `yaml:"store"`
	// When the store has what is put: soon after the put is answered (`behind`), or before (`through`).
	Write string `yaml:"write" default:"behind"`
	// What is loaded from the store at a start: nothing (`none`), the keys (`keys`), whose values come when they are asked for, the values of the newest
	// entries too (their number), or all that there is room for (`all`). A durable cache has its keys in any case, but those of a store that
	// `millrace store import` or `release` made ready for a new grid.
	Preload string `yaml:"preload" default:"none; all of a volatile cache"`
	// The largest value; at most 8MiB.
	MaxEntryBytes Size `yaml:"max_entry_bytes" default:"1MiB"`
	// How long an entry lives after it was written, unless the put says otherwise. 0 is for ever.
	Lifespan Duration `yaml:"lifespan" default:"0s"`
	// How long an entry lives without being read or written, unless the put says otherwise. 0 is for ever.
	MaxIdle Duration `yaml:"max_idle" default:"0s"`
	// What each node keeps of the cache beside itself, for gets that take less than a microsecond in the process. What changes is dropped at once.
	Near NearConfig `yaml:"near"`
	// What a get sees where partitions have replicas: every write through the same node (`session`), every write (`leader`, which is slower, as most
	// replicas must agree to it), or what the replica has that answers (`local`, which may lag). Conditions of writes are always those of the leader.
	Consistency string `yaml:"consistency" default:"session"`
}

// NearConfig describes a near cache. One of its two limits makes it.
type NearConfig struct {
	// The most entries that a node keeps; 0 keeps none, where `max_bytes` is 0 too.
	MaxEntries int64 `yaml:"max_entries" default:"0"`
	// The most bytes that they take, keys and all, in place of `max_entries`.
	MaxBytes Size `yaml:"max_bytes" default:"0"`
	// How old an answer may be, 50ms to 1h. A change is usually seen at once; this is what holds where a node has lost the others.
	Staleness Duration `yaml:"staleness" default:"1s"`
}

// StoreConfig describes one store.
type StoreConfig struct {
	// `disk` (a folder), `s3` (a bucket) or `ceph` (a pool of a Ceph cluster, where the program was built with librados). Nodes of one grid have the same
	// store under a name, so that one with a `cluster` cannot have `disk`.
	Type string `yaml:"type" default:"required"`
	// Of `disk`: the folder. Only one process at a time can use it, and it is one grid's.
	Dir Path `yaml:"dir"`
	// Of `s3`: the server's address, as `https://s3.example.com`.
	Endpoint string `yaml:"endpoint"`
	// Of `s3`: the bucket, which has to be there.
	Bucket string `yaml:"bucket"`
	// Of `s3`: what stands before the names of all objects, where others use the bucket too.
	Prefix string `yaml:"prefix"`
	// Of `s3`: the bucket's region; `us-east-1` if empty.
	Region string `yaml:"region"`
	// Of `s3`: who asks. Both keys are set, or none.
	AccessKey string `yaml:"access_key"`
	// Of `s3`: the secret of that key.
	SecretKey string `yaml:"secret_key"`
	// Of `ceph`: the cluster's ceph.conf, in place of `monitors`.
	Conf Path `yaml:"conf"`
	// Of `ceph`: the cluster's monitors, each as `HOST` or `HOST:PORT`.
	Monitors []string `yaml:"monitors"`
	// Of `ceph`: the user's name without `client.`; `admin` if empty.
	User string `yaml:"user"`
	// Of `ceph`: the user's key, as `ceph auth print-key` prints it.
	Key string `yaml:"key"`
	// Of `ceph`: a file that has the key.
	Keyring Path `yaml:"keyring"`
	// Of `ceph`: the pool, which has to be there; `millrace` if empty.
	Pool string `yaml:"pool"`
	// The most entries of a cache that are put and not in the store yet; over them puts wait, then fail with code 507.
	MaxLagEntries int64 `yaml:"max_lag_entries" default:"100000"`
	// The most bytes of their values.
	MaxLagBytes Size `yaml:"max_lag_bytes" default:"256MiB"`
	// How long the oldest of them may wait; 0 is for ever.
	MaxLag Duration `yaml:"max_lag" default:"0s"`
}

// ModelConfig describes one model. A file, a SavedModel or `builtin:` is a source: where it has changed since the last start, it becomes a new version, which the grid
// keeps with those before it. From labels on, a key that is there replaces the `millrace.*` metadata in the file.
type ModelConfig struct {
	// An ONNX file, a model of TensorFlow's (a SavedModel's folder, `.pb`, `.pbtxt` or `.meta`), a folder with numbered versions
	// (`1/model.onnx`, or SavedModels `1`, `2`), or `builtin:digits` for the one in the binary.
	Path Path `yaml:"path" default:"required"`
	// The engine, where it is not the one that `engine` names.
	Engine string `yaml:"engine" default:"what engine says"`
	// Whether a file that has changed may have another signature than the version that serves; else it is refused, and that version goes on.
	Replace bool `yaml:"replace" default:"false"`
	// How many versions the grid keeps, beside the one that serves, those that were chosen to serve and those that pipelines name.
	Keep int `yaml:"keep" default:"10"`
	// Where it runs: `cpu` or `cuda:N`.
	Device string `yaml:"device" default:"the engine's"`
	// Whether it may round the operands of products to 10 bits, for speed, on a CUDA device: results are off by up to some percent then.
	TF32 bool `yaml:"tf32" default:"the engine's"`
	// What convolutions and matrix products compute in: `float32`, or `float16`, which takes half of the memory and is faster on CUDA devices, and slower on the processor.
	// `millrace model check --precision float16` shows what that costs in exactness.
	Precision string `yaml:"precision" default:"float32"`
	// The most bytes of a CUDA device's memory that it may take; 0 is what the engine says. A run that needs more fails with `too_large` (413).
	MemoryLimit Size `yaml:"memory_limit" default:"the engine's"`
	// How many threads one run may use; 0 leaves it to the engine.
	Threads int `yaml:"threads" default:"0"`
	// Of a model of TensorFlow's: which signature of a SavedModel; nothing is the one sensible one.
	Signature string `yaml:"signature" default:"serving_default, or the only one"`
	// The tags of a SavedModel's graph.
	Tags []string `yaml:"tags" default:"[serve], or the only ones"`
	// The checkpoint with the variables of a graph of TensorFlow's.
	Checkpoint Path `yaml:"checkpoint" default:"the SavedModel's own"`
	// Which tensors of TensorFlow's graph are fed, such as `images:0` or `images[-1,784]`.
	Inputs []string `yaml:"inputs" default:"the signature's, or the placeholders"`
	// Which tensors of TensorFlow\'s graph are fetched, such as `logits`, or keys of the signature.
	Outputs []string `yaml:"outputs" default:"the signature's, or the final ones"`
	// The names of the classes, in the output's order.
	Labels []string `yaml:"labels" default:"the file's"`
	// What each sample of a picture, or each of the raw bytes that are sent, is multiplied with. Without it that is 1/255 for pictures that become a
	// floating-point input, and 1 else. Setting it says of a flat input that its bytes are a picture's.
	Scale *float64 `yaml:"scale" default:"the file's"`
	// What is subtracted after scaling: one number, or one a channel.
	Mean []float64 `yaml:"mean" default:"the file's"`
	// What is divided by after that: one number, or one a channel.
	Std []float64 `yaml:"std" default:"the file's"`
	// Whether dark and light are exchanged: `true`, `false` or `auto`.
	Invert string `yaml:"invert" default:"the file's"`
	// The order of an image's dimensions, `NCHW` or `NHWC`, or `NTC`: sequences of steps, which are no images.
	Layout string `yaml:"layout" default:"the file's"`
	// How a drawing is centred: `mnist` (as MNIST's makers did) or `none`.
	Centre string `yaml:"centre" default:"the file's"`
	// What is done with the orientation in a photograph's Exif data: `exif` turns it upright, `ignore` takes the pixels as they lie.
	Orientation string `yaml:"orientation" default:"the file's"`
	// What the scores are: `auto`, `probabilities`, `logits` or `log_probabilities`.
	Output string `yaml:"output" default:"the file's"`
	// The names of the numbers of the model's row, in the input's order: an entry may then be an object by these names, or CSV with a header.
	Columns []string `yaml:"columns" default:"the file's"`
	// Names that such an entry may have beside the columns; they are passed over.
	Ignored []string `yaml:"ignored" default:"the file's"`
	// `classification`, or `regression`, whose results are one number.
	Task string `yaml:"task" default:"the file's"`
	// The name of what is predicted.
	Target string `yaml:"target" default:"the file's"`
	// The unit of a regression's number.
	Unit string `yaml:"unit" default:"the file's"`
}

// PipelineConfig describes one pipeline.
type PipelineConfig struct {
	// The cache whose entries are the inputs.
	From string `yaml:"from" default:"required"`
	// The model that they run through. A pipeline whose model is missing waits for it, and the node is not ready.
	Model string `yaml:"model" default:"required"`
	// The model's version; 0 is always the newest.
	Version int `yaml:"version" default:"0"`
	// The cache that gets the results.
	To string `yaml:"to" default:"required"`
	// The cache that gets the errors.
	Errors string `yaml:"errors" default:"PIPELINE-errors"`
	// The most entries in one run of the model.
	MaxBatch int `yaml:"max_batch" default:"256"`
	// Where a new pipeline begins: with `all` entries that are there, or with `new` ones only.
	Start string `yaml:"start" default:"all"`
	// What becomes of a result when its source is removed: `remove` or `keep`.
	OnRemove string `yaml:"on_remove" default:"remove"`
	// How many scores a result has at most, where the model has more than 20 labels.
	Top int `yaml:"top" default:"20"`
	// Fields of the input, a JSON object or CSV with a header, that its result has too, under `carry`: `[id, time]`.
	Carry []string `yaml:"carry" default:"none"`
	// How long the model may run on a batch; decoding its entries, pictures say, does not count. Over it the run is cancelled and each of its
	// inputs runs alone, once; what takes as long again becomes an error entry with the code `run_timeout`.
	RunTimeout Duration `yaml:"run_timeout" default:"30s"`
	// How long the oldest input may wait before `GET /v2/health/ready` says that the node is not ready. 0 is no limit.
	MaxLag Duration `yaml:"max_lag" default:"0s"`
	// Two pipelines that write one cache are refused, unless both say by this that they never have the same key: of two results under one
	// key each would replace the other.
	SharesTarget bool `yaml:"shares_target" default:"false"`
	// Whether other nodes run batches of it: with `auto` those that have time do, while the owner of a partition has a full batch waiting and runs take 2 ms
	// or more; with `never` each owner runs its own, unless it opens no models (`node.roles`).
	Spread string `yaml:"spread" default:"auto"`
}

// LogConfig describes the log, which goes to the standard error.
type LogConfig struct {
	// The least level: `debug`, `info`, `warn` or `error`.
	Level string `yaml:"level"`
	// `text` or `json`.
	Format string `yaml:"format"`
	// Logs every HTTP request at level info.
	Requests bool `yaml:"requests"`
}
