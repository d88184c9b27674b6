package serve

import (
	"context"
	"errors"
	"net/http"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
)

//go:generate go test -run TestErrorsDocument . -update

// kinds is the one table from errors to codes. The first kind that matches counts; the last one takes the rest. A
// code never changes its name once it was released.
var kinds = []Kind{
	{
		Code: "bad_request", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{ErrRequest, grid.ErrLifespan},
		Cause:  "The request cannot be understood: a parameter, a header, the path or the body is malformed.",
		Remedy: "Read the message: it names the part and what would be right. Trying the same again does not help.",
	},
	{
		Code: "no_token", HTTP: http.StatusUnauthorized, GRPC: GRPCUnauthenticated, is: []error{ErrToken},
		Cause:  "The server has tokens and the request brought none of them.",
		Remedy: "Send `Authorization: Bearer TOKEN` with a token of `http.tokens`.",
	},
	{
		Code: "cross_origin", HTTP: http.StatusForbidden, GRPC: GRPCPermissionDenied, is: []error{ErrOrigin},
		Cause:  "A web page of another origin tried to write.",
		Remedy: "Where that page is yours, list its origin under `http.cors`.",
	},
	{
		Code: "host_refused", HTTP: http.StatusMisdirectedRequest, GRPC: GRPCPermissionDenied, is: []error{ErrHost},
		Cause:  "The node asks for no token, and the request names it by a host that is neither loopback's nor listed: a web page could have pointed that name here to read and write (DNS rebinding).",
		Remedy: "Use `127.0.0.1`, `[::1]` or `localhost`; or list the name under `http.hosts`; or set `http.tokens`.",
	},
	{
		Code: "wrong_node", HTTP: http.StatusMisdirectedRequest, GRPC: GRPCFailedPrecondition, is: []error{ErrElsewhere, registry.ErrElsewhere},
		Cause:  "This node of a cluster does not do this (`node.roles`): it answers no clients, or runs no models.",
		Remedy: "Ask a node that the message names. The address is not the node's name: `millrace cluster status` says which roles each node has.",
	},
	{
		Code: "no_route", HTTP: http.StatusNotFound, GRPC: GRPCUnimplemented, is: []error{ErrRoute},
		Cause:  "Nothing is served at this path.",
		Remedy: "Compare it with `/openapi.yaml`. A key is what follows the cache's name and one slash, percent-encoded.",
	},
	{
		Code: "method_not_allowed", HTTP: http.StatusMethodNotAllowed, GRPC: GRPCUnimplemented, is: []error{ErrMethod},
		Cause:  "The path is right and the method is not.",
		Remedy: "Use one of the methods in the answer's `Allow` header.",
	},
	{
		Code: "cache_not_found", HTTP: http.StatusNotFound, GRPC: GRPCNotFound, is: []error{grid.ErrNoCache},
		Cause:  "No cache has this name. Caches are never made by a write to them.",
		Remedy: "Create it with `POST /rest/v2/caches/NAME`, or name it under `caches:` in the configuration.",
	},
	{
		Code: "cache_exists", HTTP: http.StatusConflict, GRPC: GRPCAlreadyExists, is: []error{grid.ErrCacheExists},
		Cause:  "A cache of this name is there already, with another configuration.",
		Remedy: "Use it, choose another name, or alter it with `PUT`.",
	},
	{
		Code: "bad_cache_name", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{grid.ErrCacheName},
		Cause:  "A cache's name is 1 to 64 characters of `A-Z a-z 0-9 _ -`.",
		Remedy: "Choose such a name.",
	},
	{
		Code: "revision_mismatch", HTTP: http.StatusPreconditionFailed, GRPC: GRPCAborted, is: []error{grid.ErrRevision, ErrPrecondition},
		Cause:  "`If-Match`, `If-None-Match` or `If-Unmodified-Since` did not hold: somebody else wrote the entry.",
		Remedy: "Get the entry again, apply the change to what is there now, and send it with its new `ETag`.",
	},
	{
		Code: "entry_not_found", HTTP: http.StatusNotFound, GRPC: GRPCNotFound, is: []error{grid.ErrNotFound},
		Cause:  "The key has no entry: it was never put, was removed, or has expired.",
		Remedy: "Nothing is wrong if you wait for a result; listen to the cache rather than asking again and again.",
	},
	{
		Code: "entry_exists", HTTP: http.StatusConflict, GRPC: GRPCAlreadyExists, is: []error{grid.ErrExists},
		Cause:  "A create-only write (`POST`) found an entry under the key.",
		Remedy: "Use `PUT` to replace it.",
	},
	{
		Code: "bad_key", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{grid.ErrKey},
		Cause:  "A key is 1 to 1,024 bytes after percent-decoding.",
		Remedy: "Shorten the key, for instance to a digest of it.",
	},
	{
		Code: "bad_event_id", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{grid.ErrEventID},
		Cause:  "`Last-Event-ID` was not made by this grid.",
		Remedy: "Listen without it, with `includeCurrentState=true` to see what is there.",
	},
	{
		Code: "bad_config", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{grid.ErrConfig, pipeline.ErrConfig, registry.ErrSettings},
		Cause:  "The configuration of a cache, a pipeline or a model is faulty; the message lists every fault.",
		Remedy: "Repair what is listed and send it again.",
	},
	{
		Code: "body_timeout", HTTP: http.StatusRequestTimeout, GRPC: GRPCDeadlineExceeded, is: []error{ErrBodyTimeout},
		Cause:  "The body did not arrive within `http.timeouts.read`, or more slowly than `http.limits.body_rate`.",
		Remedy: "Send it faster or in smaller pieces, or raise the timeout.",
	},
	{
		Code: "header_timeout", HTTP: http.StatusRequestTimeout, GRPC: GRPCDeadlineExceeded, is: []error{errHeaderTimeout},
		Cause:  "The request's header did not arrive within `http.timeouts.header`. The connection is closed.",
		Remedy: "Send it whole, or raise the timeout.",
	},
	{
		Code: "body_cut", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{ErrBodyCut},
		Cause:  "The connection ended before the announced end of the body.",
		Remedy: "Send it again, whole.",
	},
	{
		Code: "unsupported_media_type", HTTP: http.StatusUnsupportedMediaType, GRPC: GRPCInvalidArgument, is: []error{ErrMediaType, media.ErrUnsupportedType},
		Cause:  "The body's content type is not one that this address takes.",
		Remedy: "Send one that the message names.",
	},
	{
		Code: "unsupported_encoding", HTTP: http.StatusUnsupportedMediaType, GRPC: GRPCUnimplemented, is: []error{ErrEncoding},
		Cause:  "The body's `Content-Encoding` is not one that this address takes.",
		Remedy: "Send it plain, or in an encoding that the message names.",
	},
	{
		Code: "full", HTTP: http.StatusInsufficientStorage, GRPC: GRPCResourceExhausted, is: []error{grid.ErrFull},
		Cause:  "The cache, the grid or the disk has no room, or the cache's store is too far behind. Nothing was stored, and nothing was dropped to make room.",
		Remedy: "Remove entries, raise `max_entries`, `max_bytes` or `grid.max_bytes`, free the disk, or see to the store or the pipeline that the message names; then send it again.",
	},
	{
		Code: "no_eviction", HTTP: http.StatusConflict, GRPC: GRPCFailedPrecondition, is: []error{grid.ErrNoEviction},
		Cause:  "The values of a cache without a store are in memory alone: none of them can leave it and come back.",
		Remedy: "Give the cache a store (`store`), or remove entries.",
	},
	{
		Code: "value_lost", HTTP: http.StatusInternalServerError, GRPC: GRPCInternal, is: []error{grid.ErrLost},
		Cause:  "The cache knows the entry, and its store does not have the value: the store was changed by somebody else, or lost it.",
		Remedy: "Restore the store from a backup, or put the entry again.",
	},
	{
		Code: "entry_damaged", HTTP: http.StatusGone, GRPC: GRPCDataLoss, is: []error{grid.ErrDamaged},
		Cause:  "The key had an entry. Its record on the disk was damaged or is missing, and the node found that when it started: its log, `/metrics` and `/rest/v2/stats` say where.",
		Remedy: "Put the entry again, or restore it from a backup. Deleting it makes it `not_found`.",
	},
	{
		Code: "node_not_found", HTTP: http.StatusNotFound, GRPC: GRPCNotFound, is: []error{cluster.ErrNode},
		Cause:  "The cluster has no node of this name.",
		Remedy: "Compare it with `millrace cluster status`.",
	},
	{
		Code: "cluster_refused", HTTP: http.StatusConflict, GRPC: GRPCFailedPrecondition, is: []error{cluster.ErrRefused, cluster.ErrAlone},
		Cause:  "This cannot be done to the cluster as it is: a node that is connected is not removed, nor one without which too few would be left, and a node alone has no cluster.",
		Remedy: "The message says what stands in the way: drain and stop the node first, or start others.",
	},
	{
		Code: "pipeline_not_found", HTTP: http.StatusNotFound, GRPC: GRPCNotFound, is: []error{pipeline.ErrNone, grid.ErrNoReader},
		Cause:  "No pipeline has this name, or it has yet to begin.",
		Remedy: "Compare it with `millrace pipeline ls`.",
	},
	{
		Code: "pipeline_in_file", HTTP: http.StatusConflict, GRPC: GRPCFailedPrecondition, is: []error{pipeline.ErrInFile},
		Cause:  "The pipeline is in the node's configuration file, which alone can change or remove it.",
		Remedy: "Change the file on every node and restart them, or take another name. Pausing and replaying need no change.",
	},
	{
		Code: "model_not_found", HTTP: http.StatusNotFound, GRPC: GRPCNotFound, is: []error{registry.ErrNoModel},
		Cause:  "There is no model of this name, or not this version of it.",
		Remedy: "`GET /rest/v2/models` lists those that there are.",
	},
	{
		Code: "bad_model_name", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{registry.ErrName},
		Cause:  "The name or the version cannot be a model's.",
		Remedy: "Names are 1 to 128 letters, digits, `_`, `-`, `.` and blanks; versions are whole numbers from 1.",
	},
	{
		Code: "model_unsupported", HTTP: http.StatusUnprocessableEntity, GRPC: GRPCFailedPrecondition, as: isUnsupported,
		Cause:  "The model uses operators that no engine of this node runs; the message names them.",
		Remedy: "Export the model with other operators, or install the other engine (`millrace engine install onnxruntime`).",
	},
	{
		Code: "model_refused", HTTP: http.StatusUnprocessableEntity, GRPC: GRPCFailedPrecondition, is: []error{registry.ErrRefused},
		Cause:  "The model that was put does not load, or has another signature than the version that serves. That version goes on.",
		Remedy: "Repair what `reasons` lists, or put a model of another signature under another name, or with `?replace=true`.",
	},
	{
		Code: "model_in_use", HTTP: http.StatusConflict, GRPC: GRPCFailedPrecondition, is: []error{registry.ErrInUse},
		Cause:  "The version was chosen to serve, so it cannot be removed.",
		Remedy: "Choose another version or the newest first: `millrace model use NAME --newest`.",
	},
	{
		Code: "model_version_exists", HTTP: http.StatusConflict, GRPC: GRPCAlreadyExists, is: []error{registry.ErrVersionExists},
		Cause:  "The version is there already, and versions do not change.",
		Remedy: "Put it without a version, which takes the next number.",
	},
	{
		Code: "model_fixed", HTTP: http.StatusConflict, GRPC: GRPCFailedPrecondition, is: []error{registry.ErrFixed},
		Cause:  "The version is a folder of the configuration's: its file is not kept here, and it cannot be removed here.",
		Remedy: "Take the file from where `source` says, and change `models:` in the configuration.",
	},
	{
		Code: "model_failed", HTTP: http.StatusServiceUnavailable, GRPC: GRPCUnavailable, is: []error{registry.ErrFailed},
		Cause:  "The model is kept but cannot be run on this node; the message says why.",
		Remedy: "Repair what it says, or put a version that runs.",
	},
	// After the kinds of a model that cannot be opened, which may be for the memory that it needs.
	{
		Code: "too_large", HTTP: http.StatusRequestEntityTooLarge, GRPC: GRPCResourceExhausted, is: []error{grid.ErrTooLarge, ErrBodyTooLarge, registry.ErrTooLarge, media.ErrTooLarge, engine.ErrTooLarge},
		Cause:  "The body, an entry, its content type or its labels are over a limit, or what a run of the model needs in memory; the message says which and how large it is.",
		Remedy: "Send less, or raise the limit that the message names: a cache's `max_entry_bytes` (8 MiB at most), `engines.native.max_run_bytes`.",
	},
	{
		Code: "bad_content", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{media.ErrMalformed, media.ErrShape, media.ErrNotFinite, bulk.ErrFormat},
		Cause:  "The bytes are not what their content type says, or do not fit the model's input.",
		Remedy: "Read the message, and compare with the model's signature and metadata.",
	},
	{
		Code: "format_cannot_hold", HTTP: http.StatusUnprocessableEntity, GRPC: GRPCFailedPrecondition, is: []error{bulk.ErrCannotHold},
		Cause:  "The entries cannot be written in the format that was asked for; the message names the first that cannot.",
		Remedy: "Export as `jsonl` or `tar`, which hold everything.",
	},
	{
		Code: "model_input", HTTP: http.StatusBadRequest, GRPC: GRPCInvalidArgument, is: []error{engine.ErrInput},
		Cause:  "The inputs do not fit the model: a missing or unknown name, a wrong type or shape.",
		Remedy: "Compare them with the model's signature, `GET /v2/models/NAME`.",
	},
	{
		Code: "no_profile", HTTP: http.StatusNotImplemented, GRPC: GRPCUnimplemented, is: []error{engine.ErrNoProfile},
		Cause:  "The engine that runs the model does not tell how long each node takes.",
		Remedy: "Let the model run on the engine `native` (`PUT /rest/v2/models/NAME/settings`), or measure its file there: `millrace model profile FILE`.",
	},
	{
		Code: "engine_unavailable", HTTP: http.StatusServiceUnavailable, GRPC: GRPCUnavailable, is: []error{engine.ErrUnavailable},
		Cause:  "The engine or device that is asked for is not on this machine or not in this build.",
		Remedy: "Do what the message says, or take another engine.",
	},
	{
		Code: "stopping", HTTP: http.StatusServiceUnavailable, GRPC: GRPCUnavailable, is: []error{grid.ErrClosed, engine.ErrClosed, ErrStopping},
		Cause:  "The server is stopping. What it had accepted is finished.",
		Remedy: "Send the request again, to this node once it is back or to another.",
	},
	{
		Code: "not_ready", HTTP: http.StatusServiceUnavailable, GRPC: GRPCUnavailable, is: []error{ErrNotReady},
		Cause:  "The node or the model is starting or lacks something; `GET /v2/health/ready` lists the reasons.",
		Remedy: "Wait until it is ready, or repair what is listed.",
	},
	{
		Code: "overloaded", HTTP: http.StatusServiceUnavailable, GRPC: GRPCUnavailable, is: []error{ErrOverloaded, engine.ErrBusy},
		Cause:  "A limit on what is done at once is reached: on connections, or on runs that wait for a model.",
		Remedy: "Send less at a time, and try again after `Retry-After`.",
	},
	{
		Code: "listener_behind", HTTP: http.StatusServiceUnavailable, GRPC: GRPCUnavailable, is: []error{grid.ErrBehind},
		Cause:  "An event stream ended because its reader was too slow: more waited for it than `listeners.max_bytes_each`, or for all than `listeners.max_bytes`. Or there is no room for one more.",
		Remedy: "Listen again with the `Last-Event-ID` of the last event that came, which loses nothing; read faster, or ask without `values`.",
	},
	{
		Code: "grid_unavailable", HTTP: http.StatusServiceUnavailable, GRPC: GRPCUnavailable, is: []error{grid.ErrUnavailable, grid.ErrNoStore},
		Cause:  "The grid did not answer in time, or most of the nodes are away that have the key's partition; the message names them then. Whether a write took effect is not known.",
		Remedy: "Start the nodes that the message names. Send it again with its condition (`If-Match`, `If-None-Match`), which makes repeating safe.",
	},
	{
		Code: "timeout", HTTP: http.StatusGatewayTimeout, GRPC: GRPCDeadlineExceeded, is: []error{context.DeadlineExceeded},
		Cause:  "The work took longer than the request's time limit.",
		Remedy: "Send less in one request, or try again when there is less load.",
	},
	{
		Code: "cancelled", HTTP: statusClientClosed, GRPC: GRPCCanceled, is: []error{context.Canceled},
		Cause:  "The caller closed the connection before the answer. Only logs show this code.",
		Remedy: "Nothing, or a longer timeout on the caller's side.",
	},
	{
		Code: "internal", HTTP: http.StatusInternalServerError, GRPC: GRPCInternal,
		Cause:  "Something failed that should not: a fault of the server.",
		Remedy: "Look for the request's id in the server's log, and report what it says.",
	},
}

// statusClientClosed is what proxies log for a caller that left; no standard status says it.
const statusClientClosed = 499

func isUnsupported(err error) bool {
	var u *engine.UnsupportedError
	return errors.As(err, &u)
}
