package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates, whose files are in a folder.
type authority struct {
	t    *testing.T
	dir  string
	file string // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.file, a.key = a.write(name, a.cert, a.cert, nil)
	return a
}

// node writes a certificate of a node on loopback, and returns the names of its file and its key's.
func (a *authority) node(name string, until time.Time) (cert, key string) {
	a.t.Helper()
	cert, _ = a.write(name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	return cert, strings.TrimSuffix(cert, ".pem") + ".key"
}

// write signs a certificate by its parent's key, or by its own where that is nil.
func (a *authority) write(name string, cert, parent *x509.Certificate, by *ecdsa.PrivateKey) (file string, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	signed, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	file = filepath.Join(a.dir, name+".pem")
	for path, block := range map[string]*pem.Block{file: {Type: "CERTIFICATE", Bytes: signed}, filepath.Join(a.dir, name+".key"): {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return file, key
}

// TestClusterTLS: nodes with certificates of one authority are one grid, without a secret; a node with a certificate of another authority, with one that is over, and one
// without TLS stop with the reason, and harm nobody.
func TestClusterTLS(t *testing.T) {
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ours, theirs := newAuthority(t, dir, "ours"), newAuthority(t, dir, "theirs")
	c := &clusterNodes{t: t}
	for i := range c.peers {
		c.peers[i] = address(t)
	}
	later := time.Now().Add(time.Hour)
	config := func(name, web, listen, seed, tls string) string {
		c.configs[0] = filepath.Join(dir, name+".yaml")
		text := fmt.Sprintf("node: {name: %s, data: %[1]s}\nhttp: {listen: %q}\ncluster: {name: test, listen: %q, seeds: [%q], %s}\n", name, web, listen, seed, tls)
		if err := os.WriteFile(c.configs[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return c.configs[0]
	}
	section := func(a *authority, ca, name string, until time.Time) string {
		cert, key := a.node(name, until)
		return fmt.Sprintf("tls: {cert: %q, key: %q, ca: %q}", cert, key, ca)
	}
	for i := range c.nodes {
		name, addr := fmt.Sprint("n", i), address(t)
		c.bases[i] = "http://" + addr
		c.nodes[i] = start(t, config(name, addr, c.peers[i], c.peers[(i+2)%3], section(ours, ours.file, name, later)))
	}
	for i := range c.nodes {
		c.ready(i)
	}
	create(t, c.bases[0], "digits")
	load := &load{bases: c.bases[:], acked: map[string]uint64{}}
	put := func(key string) {
		t.Helper()
		for i := range c.nodes {
			load.put(i, fmt.Sprint(key, i))
		}
		for i := range c.nodes {
			entries, err := load.entries(c.bases[i], "digits")
			if err != nil {
				t.Fatal(err)
			}
			for key, rev := range load.snapshot() {
				if entries[key].Revision != rev {
					t.Errorf("node %d has %+v of %s, which was put at %d", i, entries[key], key, rev)
				}
			}
		}
	}
	put("before")

	for _, other := range []struct{ what, tls, says string }{
		{"another authority", section(theirs, theirs.file, "n7", later), "TLS between the nodes fails"},
		{"a certificate of another authority", section(theirs, ours.file, "n8", later), "TLS between the nodes fails"},
		{"a certificate that is over", section(ours, ours.file, "n9", time.Now().Add(-time.Minute)), "TLS between the nodes fails"},
		{"no TLS", "secret: " + clusterSecret, "cluster.tls must be set on all nodes or on none"},
	} {
		name := strings.ReplaceAll(other.what, " ", "-")
		c.refuses(other.what, config(name, "127.0.0.1:0", address(t), c.peers[1], other.tls), other.says)
	}
	put("after")
	if n := load.count(); n != 6 {
		t.Errorf("%d of 6 puts were acknowledged", n)
	}
	for i := range c.nodes {
		if err := isEven(c.status(i)); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
}
