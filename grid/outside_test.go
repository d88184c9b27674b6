package grid_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

const secret = "open-sesame-4711"

// file writes a file and returns its name.
func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// operator makes a server one whose users are known by JWTs, and returns a user's credentials.
func operator(t *testing.T, o *server.Options) []byte {
	t.Helper()
	pair, text := must[nkeys.KeyPair](t), must[string](t)
	op, account, user := pair(nkeys.CreateOperator()), pair(nkeys.CreateAccount()), pair(nkeys.CreateUser())
	public := func(k nkeys.KeyPair) string { return text(k.PublicKey()) }
	claims := jwt.NewAccountClaims(public(account))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	accountJWT := text(claims.Encode(op))
	operatorClaims := jwt.NewOperatorClaims(public(op))
	system := pair(nkeys.CreateAccount())
	operatorClaims.SystemAccount = public(system)
	operatorJWT := text(operatorClaims.Encode(op))
	o.TrustedOperators = []*jwt.OperatorClaims{must[*jwt.OperatorClaims](t)(jwt.DecodeOperatorClaims(operatorJWT))}
	resolver := &server.MemAccResolver{}
	for key, value := range map[string]string{public(account): accountJWT, public(system): text(jwt.NewAccountClaims(public(system)).Encode(op))} {
		if err := resolver.Store(key, value); err != nil {
			t.Fatal(err)
		}
	}
	o.AccountResolver, o.SystemAccount = resolver, public(system)
	userJWT := text(jwt.NewUserClaims(public(user)).Encode(account))
	return must[[]byte](t)(jwt.FormatUserConfig(userJWT, must[[]byte](t)(user.Seed())))
}

// certificates makes an authority and a certificate for 127.0.0.1 that comes from it.
func certificates(t *testing.T) (ca, cert, key string, pool *x509.CertPool, own tls.Certificate) {
	t.Helper()
	sign := must[[]byte](t)
	caKey, ownKey := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER := sign(x509.CreateCertificate(rand.Reader, template, template, &caKey.PublicKey, caKey))
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: template.NotBefore, NotAfter: template.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der := sign(x509.CreateCertificate(rand.Reader, leaf, template, &ownKey.PublicKey, caKey))
	keyDER := sign(x509.MarshalPKCS8PrivateKey(ownKey))
	encode := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(encode("CERTIFICATE", caDER))
	own = must[tls.Certificate](t)(tls.X509KeyPair(encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)))
	return file(t, "ca.pem", encode("CERTIFICATE", caDER)), file(t, "cert.pem", encode("CERTIFICATE", der)), file(t, "key.pem", encode("PRIVATE KEY", keyDER)), pool, own
}

// TestAccess opens a grid on servers that want to know who it is, in each way; without, and with what is wrong, it is refused, and no secret is told.
func TestAccess(t *testing.T) {
	t.Parallel()
	seed := must[nkeys.KeyPair](t)(nkeys.CreateUser())
	nkey := file(t, "user.nk", must[[]byte](t)(seed.Seed()))
	other := file(t, "other.nk", must[[]byte](t)(must[nkeys.KeyPair](t)(nkeys.CreateUser()).Seed()))
	ca, cert, key, pool, own := certificates(t)
	var creds string
	for _, test := range []struct {
		name         string
		server       func(o *server.Options)
		right, wrong func() grid.Access
	}{
		{"user", func(o *server.Options) { o.Username, o.Password = "me", secret },
			func() grid.Access { return grid.Access{User: "me", Password: secret} }, func() grid.Access { return grid.Access{User: "me", Password: secret + "x"} }},
		{"token", func(o *server.Options) { o.Authorization = secret },
			func() grid.Access { return grid.Access{Token: secret} }, func() grid.Access { return grid.Access{Token: secret + "x"} }},
		{"nkey", func(o *server.Options) {
			o.Nkeys = []*server.NkeyUser{{Nkey: must[string](t)(seed.PublicKey())}}
		}, func() grid.Access { return grid.Access{NKey: nkey} }, func() grid.Access { return grid.Access{NKey: other} }},
		{"credentials", func(o *server.Options) { creds = file(t, "me.creds", operator(t, o)) },
			func() grid.Access { return grid.Access{Credentials: creds} }, func() grid.Access { return grid.Access{} }},
		{"tls", func(o *server.Options) {
			o.TLS, o.TLSTimeout, o.TLSVerify = true, 5, true
			o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		}, func() grid.Access { return grid.Access{CA: ca, Cert: cert, Key: key} }, func() grid.Access { return grid.Access{CA: ca} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := natstest.StartWith(t, test.server)
			var logged logText
			log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			g := open(t, grid.Config{URL: s.URL(), Partitions: 1, Access: test.right(), Logger: log})
			c := cache(t, g, grid.CacheConfig{Name: "c"})
			if _, err := c.Put(t.Context(), "k", []byte("v"), grid.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			// A connection that breaks comes back by the same way.
			s.Stop()
			s.Restart()
			eventually(t, "the grid is ready again", func() bool { return g.Ready(t.Context()) == nil })
			eventually(t, "what was put is read", func() bool { // ready looks at one connection; the others may be a moment behind
				e, err := c.Get(t.Context(), "k")
				return err == nil && string(e.Value) == "v"
			})
			_, err := grid.Open(t.Context(), grid.Config{URL: s.URL(), Access: test.wrong()})
			if !errors.Is(err, grid.ErrConfig) {
				t.Errorf("who is not known: %v", err)
			}
			for _, text := range []string{fmt.Sprint(err), logged.String()} {
				if strings.Contains(text, secret) {
					t.Errorf("a secret is told: %s", text)
				}
			}
		})
	}
}

// logText is what a log has written, by several goroutines.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestAccessFaults: what does not go together is refused, all at once, without the secret of an address.
func TestAccessFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  grid.Config
		want []string
	}{
		{grid.Config{InMemory: true, Access: grid.Access{User: "me"}}, []string{"user: is for an external server"}},
		{grid.Config{URL: "nats://h:1", Access: grid.Access{User: "me", Token: secret}}, []string{"user and token are all set"}},
		{grid.Config{URL: "nats://h:1", Access: grid.Access{Password: secret, Cert: "/nowhere/cert"}}, []string{"password: needs a user", "cert and key go together", "/nowhere/cert"}},
		{grid.Config{URL: "nats://" + secret + "@h:1", Access: grid.Access{User: "me"}, SyncAlways: true}, []string{"url: has a user in it", "server at nats://xxxxx@h:1"}},
		{grid.Config{URL: "http://me:" + secret + "@h:1"}, []string{"http://xxxxx@h:1 is not an address"}},
	} {
		err := test.cfg.Validate()
		if !errors.Is(err, grid.ErrConfig) || strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%v", err)
		}
		for _, want := range test.want {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
	}
	if _, err := grid.Open(t.Context(), grid.Config{URL: "nats://me:" + secret + "@127.0.0.1:1"}); !errors.Is(err, grid.ErrUnavailable) || strings.Contains(err.Error(), secret) {
		t.Errorf("open without a server: %v", err)
	}
}

// TestServersThatLack: a server without JetStream is refused, and a permission that is lacking is named.
func TestServersThatLack(t *testing.T) {
	t.Parallel()
	bare := natstest.StartWith(t, func(o *server.Options) { o.JetStream = false })
	if _, err := grid.Open(t.Context(), grid.Config{URL: bare.URL()}); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), "no JetStream") {
		t.Errorf("without JetStream: %v", err)
	}
	for denied, want := range map[string]string{
		"$JS.API.STREAM.CREATE.>": `publish to "$JS.API.STREAM.CREATE.KV_millrace-meta"`,
		"$KV.>":                   `publish to "$KV.millrace-meta.grid"`,
	} {
		s := natstest.StartWith(t, func(o *server.Options) {
			o.Users = []*server.User{{Username: "me", Password: secret, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{denied}}}}}
		})
		began := time.Now()
		_, err := grid.Open(t.Context(), grid.Config{URL: s.URL(), Partitions: 1, Access: grid.Access{User: "me", Password: secret}, Timeout: time.Minute})
		if !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %v, want %s", denied, err, want)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	// One that is only needed later is named by what needs it.
	s := natstest.StartWith(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "me", Password: secret, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"$KV.millrace-durable-0.c.>", "$KV.*.c.>"}},
		}}}
	})
	g := open(t, grid.Config{URL: s.URL(), Partitions: 1, Access: grid.Access{User: "me", Password: secret}, Timeout: time.Minute})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	if _, err := c.Put(t.Context(), "k", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrUnavailable) || !strings.Contains(err.Error(), `publish to "$KV.`) {
		t.Errorf("put without permission: %v", err)
	}
}

// TestServerOfAClusterStops stops one of three servers under writes through several addresses: what was acknowledged is there (invariant 1), and writes go on.
func TestServerOfAClusterStops(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cluster := natstest.StartCluster(t, 3, nil)
	g := open(t, grid.Config{URL: cluster.URLs(), Partitions: 2, Replicas: 3, Timeout: 20 * time.Second})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	const writers, after = 4, 30
	var mu sync.Mutex
	acknowledged := map[string]grid.Revision{}
	stopped, begun := make(chan struct{}), make(chan struct{}, writers)
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i, left := 0, after; left > 0; i++ {
				key := fmt.Sprintf("%d-%d", w, i)
				rev, err := c.Put(ctx, key, []byte(key), grid.PutOptions{})
				if err == nil {
					mu.Lock()
					acknowledged[key] = rev
					mu.Unlock()
				}
				if i == 20 {
					begun <- struct{}{}
				}
				select {
				case <-stopped:
					if err == nil {
						left--
					}
				case <-ctx.Done():
					return
				default:
				}
			}
		})
	}
	for range writers {
		<-begun
	}
	cluster.Leader("KV_" + grid.Bucket("millrace", grid.Durable, 0)).Stop()
	close(stopped)
	work.Wait()
	t.Logf("%d puts were acknowledged", len(acknowledged))
	for key, rev := range acknowledged {
		e, err := c.Get(ctx, key)
		if err != nil || e.Revision != rev || string(e.Value) != key {
			t.Errorf("%s, acknowledged with revision %d: %+v, %v", key, rev, e, err)
		}
	}
}
