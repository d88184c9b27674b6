package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/gate"
	"github.com/millrace/millrace/store/internal/record"
)

// Store is a bucket.
type Store struct {
	c         Config
	client    minio.Core
	transport *http.Transport
	gate      gate.Gate
	// slots bounds the requests that are under way.
	slots chan struct{}
}

var _ store.Store = (*Store)(nil)

// Open looks whether the bucket is there, and whether its server honours conditions. It is store.ErrUnavailable where the server does not
// answer, and store.ErrDenied where it refuses the user or has no such bucket.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	// With quotes, as HTTP has it, first.
	for _, bare := range []bool{false, true} {
		s, err := dial(c.withDefaults(), bare)
		if err != nil {
			return nil, err
		}
		holds, err := s.try(ctx)
		if holds {
			return s, nil
		}
		s.transport.CloseIdleConnections()
		if err != nil {
			return nil, ended(ctx, err)
		}
	}
	return nil, fmt.Errorf("open the bucket %s at %s: %w: the server refuses a PUT whose condition If-Match holds: use another one", c.Bucket, c.Endpoint, store.ErrConfig)
}

// dial makes the client, which connects when it is used. Where bare is true, ETags go without quotes.
func dial(c Config, bare bool) (*Store, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Endpoint, err)
	}
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Endpoint, err)
	}
	transport.MaxIdleConnsPerHost = c.Calls
	var trip http.RoundTripper = transport
	if bare {
		trip = bareTags{transport, c}
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:     credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:    u.Scheme == "https",
		Region:    c.Region,
		Transport: trip,
		// Trying again is store/retry's.
		MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Endpoint, err)
	}
	return &Store{c: c, client: minio.Core{Client: client}, transport: transport, slots: make(chan struct{}, c.Calls)}, nil
}

// try looks for the bucket and tries out the conditions, by an object of its own. It reports whether a write whose condition holds is done; one
// whose condition does not hold and which is done all the same is an error.
func (s *Store) try(ctx context.Context) (holds bool, err error) {
	what := fmt.Sprintf("open the bucket %s at %s", s.c.Bucket, s.c.Endpoint)
	there, err := s.client.BucketExists(ctx, s.c.Bucket)
	if err != nil {
		return false, failed(ctx, what, err)
	}
	if !there {
		return false, fmt.Errorf("%w: %s has no bucket %s: make it first", store.ErrDenied, s.c.Endpoint, s.c.Bucket)
	}
	object := s.c.Prefix + ".try-" + rand.Text()
	etag, err := s.put(ctx, object, []byte("Millrace tries the conditions of writes"), "")
	if err != nil {
		return false, failed(ctx, what, err)
	}
	defer func() {
		err = errors.Join(err, s.client.RemoveObject(context.WithoutCancel(ctx), s.c.Bucket, object, minio.RemoveObjectOptions{}))
		holds = holds && err == nil
	}()
	for _, c := range []struct{ header, etag string }{{"If-None-Match", ""}, {"If-Match", "00000000000000000000000000000000"}} {
		_, err := s.put(ctx, object, nil, c.etag)
		switch {
		case err == nil:
			return false, fmt.Errorf("%s: %w: the server takes no notice of %s in a PUT, without which an older write could replace a newer one: use a server that does", what, store.ErrConfig, c.header)
		case !errors.Is(err, errChanged):
			return false, failed(ctx, what, err)
		}
	}
	switch _, err := s.put(ctx, object, nil, etag); {
	case errors.Is(err, errChanged):
		return false, nil
	case err != nil:
		return false, failed(ctx, what, err)
	}
	return true, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	if s.gate.Close() {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// enter begins a call.
func (s *Store) enter(ctx context.Context, namespace string) error {
	if err := store.CheckNamespace(namespace); err != nil {
		return err
	}
	return s.gate.Enter(ctx)
}

// request waits for a slot and returns a context for one request, and what ends it.
func (s *Store) request(ctx context.Context) (context.Context, func(), error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	ctx, stop := context.WithTimeout(ctx, s.c.Timeout)
	return ctx, func() { stop(); <-s.slots }, nil
}

// errChanged says that the object is not as a write's condition has it.
var errChanged = errors.New("changed meanwhile")

// put writes an object whose ETag is as given still, or with "" one that is not there.
func (s *Store) put(ctx context.Context, object string, b []byte, etag string) (string, error) {
	ctx, done, err := s.request(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	// The sum of the whole is signed. In pieces, as the client does it by itself without TLS, older gateways of Ceph do not take it.
	o := minio.PutObjectOptions{DisableContentSha256: true, ContentType: "application/x-millrace"}
	sum := sha256.Sum256(b)
	if etag == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(etag)
	}
	info, err := s.client.PutObject(ctx, s.c.Bucket, object, bytes.NewReader(b), int64(len(b)), "", hex.EncodeToString(sum[:]), o)
	var r minio.ErrorResponse
	if errors.As(err, &r) {
		switch r.StatusCode {
		case http.StatusPreconditionFailed, http.StatusConflict:
			return "", errChanged
		case http.StatusNotFound:
			if r.Code == minio.NoSuchKey {
				return "", errChanged
			}
		}
	}
	return info.ETag, err
}

// get reads the first limit bytes of an object, or with 0 all of it, and its ETag. It is store.ErrNotFound where there is no object.
func (s *Store) get(ctx context.Context, object string, limit int) ([]byte, string, error) {
	ctx, done, err := s.request(ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	var o minio.GetObjectOptions
	if limit > 0 {
		if err := o.SetRange(0, int64(limit-1)); err != nil {
			return nil, "", err
		}
	}
	body, info, _, err := s.client.GetObject(ctx, s.c.Bucket, object, o)
	if err != nil {
		return nil, "", failed(ctx, "read", err)
	}
	defer body.Close()
	most := int64(record.MaxHeadBytes + store.MaxValueBytes)
	if info.Size > most {
		return nil, "", fmt.Errorf("%w: it has %d bytes", store.ErrCorrupt, info.Size)
	}
	b := make([]byte, max(info.Size, 0))
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, "", failed(ctx, "read", err)
	}
	return b, info.ETag, nil
}

// failed returns an error of the client as one of the contract's.
func failed(ctx context.Context, what string, err error) error {
	var r minio.ErrorResponse
	sentinel := store.ErrUnavailable
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, err)
	case !errors.As(err, &r):
		// The connection, or its time, ended.
	case r.StatusCode == http.StatusNotFound && r.Code != minio.NoSuchBucket:
		sentinel = store.ErrNotFound
	case r.StatusCode == http.StatusInsufficientStorage, r.Code == "QuotaExceeded", r.Code == "XMinioStorageFull":
		sentinel = store.ErrFull
	case r.StatusCode == http.StatusUnauthorized, r.StatusCode == http.StatusForbidden, r.Code == minio.NoSuchBucket:
		sentinel = store.ErrDenied
	case r.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		sentinel = store.ErrCorrupt
	case r.StatusCode >= 400 && r.StatusCode < 500 && r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusRequestTimeout:
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, sentinel, err)
}
