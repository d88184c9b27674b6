package s3

import (
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// bareTags sends the ETag of a condition without its quotes. Ceph's gateway up to version 16 at least compares the header as it is with an ETag that
// it keeps without them, and so takes no condition that is written as HTTP has it. The client writes the quotes and signs them, so that the
// request is signed anew.
type bareTags struct {
	next http.RoundTripper
	c    Config
}

// RoundTrip implements http.RoundTripper.
func (b bareTags) RoundTrip(r *http.Request) (*http.Response, error) {
	tag := r.Header.Get("If-Match")
	if r.Method != http.MethodPut || tag == "" {
		return b.next.RoundTrip(r)
	}
	// A RoundTripper must leave the request as it is.
	r = r.Clone(r.Context())
	r.Header.Set("If-Match", strings.Trim(tag, `"`))
	if b.c.AccessKey != "" {
		r.Header.Del("Authorization")
		r = signer.SignV4(*r, b.c.AccessKey, b.c.SecretKey, "", b.c.Region)
	}
	return b.next.RoundTrip(r)
}
