package serve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/millrace/millrace/fault"
)

// certCheck is how often at most the certificate's files are looked at.
const certCheck = time.Second

// certificates gives the certificate of two files, and the new one after they changed.
type certificates struct {
	files TLS
	log   *slog.Logger

	mu      sync.Mutex
	cert    *tls.Certificate
	stamp   [2]fileStamp
	checked time.Time
}

type fileStamp struct {
	modified time.Time
	size     int64
}

func newCertificates(files TLS, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, log: log}
	stamp, err := c.stat()
	if err != nil {
		return nil, err
	}
	if err := c.load(stamp); err != nil {
		return nil, err
	}
	c.checked = time.Now()
	return c, nil
}

// get is tls.Config.GetCertificate. A change that cannot be read leaves the certificate that works, and is logged.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certCheck {
		return c.cert, nil
	}
	c.checked = time.Now()
	stamp, err := c.stat()
	if err == nil && stamp != c.stamp {
		err = c.load(stamp)
		if err == nil {
			c.log.Info("tls certificate read again", "cert", c.files.Cert)
		}
	}
	if err != nil {
		c.log.Warn("tls certificate not read again; the old one stays", "error", err)
	}
	return c.cert, nil
}

func (c *certificates) stat() ([2]fileStamp, error) {
	var s [2]fileStamp
	for i, name := range []string{c.files.Cert, c.files.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return s, fault.Errors{{Path: [2]string{"tls.cert", "tls.key"}[i], Msg: err.Error()}}
		}
		s[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

func (c *certificates) load(stamp [2]fileStamp) error {
	cert, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fault.Errors{{Path: "tls", Msg: fmt.Sprintf("cert %s with key %s: %v", c.files.Cert, c.files.Key, err)}}
	}
	c.cert, c.stamp = &cert, stamp
	return nil
}
