package s3_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/retry"
	"github.com/millrace/millrace/store/s3"
	"github.com/millrace/millrace/store/storetest"
)

// server is the address of a server that speaks S3, with the keys in it: http://KEY:SECRET@HOST. `make test-ceph` starts Ceph's gateway and
// names it by this variable.
const server = "MILLRACE_TEST_S3"

// bucket makes an empty bucket and returns how to open it.
func bucket(t *testing.T) s3.Config {
	t.Helper()
	at := os.Getenv(server)
	if at == "" {
		t.Skip("there is no server with S3 to test with: make test-ceph starts one")
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	c := s3.Config{Endpoint: u.Scheme + "://" + u.Host, Bucket: "test-" + strings.ToLower(rand.Text()), AccessKey: u.User.Username(), SecretKey: secret}
	client := raw(t, c)
	if err := client.MakeBucket(t.Context(), c.Bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for o := range client.ListObjectsIter(ctx, c.Bucket, minio.ListObjectsOptions{Recursive: true}) {
			if err := client.RemoveObject(ctx, c.Bucket, o.Key, minio.RemoveObjectOptions{}); err != nil {
				t.Error(err)
			}
		}
		if err := client.RemoveBucket(ctx, c.Bucket); err != nil {
			t.Error(err)
		}
	})
	return c
}

func raw(t *testing.T, c s3.Config) *minio.Client {
	t.Helper()
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func open(t *testing.T, c s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The suite goes through retry over faults: Ceph's gateway by itself answers some of the writes that race each other with an error of its own. Another
// store is beside it in the bucket.
func TestSuite(t *testing.T) {
	c := bucket(t)
	neighbour := open(t, c)
	defer neighbour.Close()
	for _, namespace := range []string{"grid", "test-kept"} {
		if err := neighbour.Put(t.Context(), namespace, store.Entry{Info: store.Info{Key: "k", Revision: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	c.Prefix = "grid/one"
	var under *s3.Store
	storetest.Run(t, storetest.Under{
		Open: func(t *testing.T, now func() time.Time) store.Store {
			c := c
			c.Now = now
			under = open(t, c)
			r, err := retry.New(faultstore.New(under, 3, faultstore.Faults{Before: 0.05, After: 0.05}), retry.Config{Attempts: 60, First: time.Millisecond, Longest: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		Kept: true, Shared: true, Slow: true, Faulty: true,
		Damage: func(t *testing.T, _ store.Store, namespace, key string, head bool) {
			if err := under.Damage(t.Context(), namespace, key, head); err != nil {
				t.Fatal(err)
			}
		},
	})
	if _, err := neighbour.Get(t.Context(), "test-kept", "k"); err != nil {
		t.Errorf("the neighbour's entry: %v", err)
	}
}

// The seal of a sweep that was killed holds writers up for a while, and is then replaced, by a write or by the next sweep.
func TestAbandonedSeal(t *testing.T) {
	c := bucket(t)
	ahead := time.Duration(0)
	c.Now = func() time.Time { return time.Now().Add(ahead) }
	s := open(t, c)
	defer s.Close()
	for _, key := range []string{"written", "swept"} {
		if err := s.Seal(t.Context(), "n", key, 5); err != nil {
			t.Fatal(err)
		}
	}
	put := func() error {
		return s.Put(t.Context(), "n", store.Entry{Info: store.Info{Key: "written", Revision: 6}})
	}
	if err := put(); !store.Retryable(err) {
		t.Errorf("put on a seal: %v", err)
	}
	if n, err := s.Sweep(t.Context(), "n"); n != 0 || err != nil {
		t.Errorf("sweep of another's seal: %d, %v", n, err)
	}
	ahead = 2 * time.Minute
	if err := put(); err != nil {
		t.Errorf("put on an old seal: %v", err)
	}
	if n, err := s.Sweep(t.Context(), "n"); n != 1 || err != nil {
		t.Errorf("sweep of an old seal: %d, %v", n, err)
	}
	if err := s.Put(t.Context(), "n", store.Entry{Info: store.Info{Key: "swept", Revision: 1}}); err != nil {
		t.Errorf("put after the sweep: %v", err)
	}
}

func TestRefused(t *testing.T) {
	c := bucket(t)
	for name, change := range map[string]struct {
		change func(*s3.Config)
		want   error
		text   string
	}{
		"no bucket":    {func(c *s3.Config) { c.Bucket = "not-there" }, store.ErrDenied, "has no bucket not-there"},
		"wrong secret": {func(c *s3.Config) { c.SecretKey = "wrong" }, store.ErrDenied, c.Bucket},
		"unknown key":  {func(c *s3.Config) { c.AccessKey = "nobody" }, store.ErrDenied, c.Bucket},
		"no server":    {func(c *s3.Config) { c.Endpoint = "http://127.0.0.1:9" }, store.ErrUnavailable, "127.0.0.1:9"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			change.change(&c)
			s, err := s3.Open(t.Context(), c)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, change.want) || !strings.Contains(err.Error(), change.text) {
				t.Error(err)
			}
		})
	}
}

// A server that takes no notice of conditions is refused. It is one that stores nothing, which is enough for what Open asks.
func TestServerWithoutConditions(t *testing.T) {
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"1"`) }))
	defer careless.Close()
	_, err := s3.Open(t.Context(), s3.Config{Endpoint: careless.URL, Bucket: "bucket", AccessKey: "a", SecretKey: "b"})
	if !errors.Is(err, store.ErrConfig) || !strings.Contains(err.Error(), "If-None-Match") {
		t.Error(err)
	}
}

// What a server answers when it cannot is retryable, and what it will never do is not.
func TestAnswers(t *testing.T) {
	status, code := 0, ""
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<Error><Code>" + code + "</Code></Error>"))
	}))
	defer failing.Close()
	for _, c := range []struct {
		status int
		code   string
		want   error
	}{
		{500, "InternalError", store.ErrUnavailable}, {503, "SlowDown", store.ErrUnavailable}, {429, "TooManyRequests", store.ErrUnavailable},
		{403, "AccessDenied", store.ErrDenied}, {404, "NoSuchBucket", store.ErrDenied}, {403, "QuotaExceeded", store.ErrFull}, {507, "XMinioStorageFull", store.ErrFull},
		{404, "NoSuchKey", store.ErrNotFound}, {416, "InvalidRange", store.ErrCorrupt},
	} {
		status, code = c.status, c.code
		s := s3.Unchecked(s3.Config{Endpoint: failing.URL, Bucket: "bucket", AccessKey: "a", SecretKey: "b"})
		if _, err := s.Get(t.Context(), "n", "k"); !errors.Is(err, c.want) {
			t.Errorf("%d %s: %v", c.status, c.code, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestValidate(t *testing.T) {
	good := s3.Config{Endpoint: "https://s3.example.com", Bucket: "my.bucket-1", Prefix: "a/b_c", AccessKey: "a", SecretKey: "b"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	err := s3.Config{Endpoint: "s3.example.com", Bucket: "A", Prefix: "/a", AccessKey: "a", Calls: -1, Timeout: 1}.Validate()
	if !errors.Is(err, store.ErrConfig) {
		t.Fatal(err)
	}
	for _, field := range []string{"endpoint: ", "bucket: ", "prefix: ", "secret_key: ", "calls: ", "timeout: "} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
