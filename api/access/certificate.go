package access

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
)

// certificate is a pair of files with a chain and its key, in PEM.
type certificate struct {
	chain, key string
	files      *watched
	pair       atomic.Pointer[tls.Certificate]
	report     func(line string)
}

func newCertificate(chain, key string, report func(string)) (*certificate, error) {
	c := &certificate{chain: chain, key: key, files: newWatched(chain, key), report: report}
	pair, err := c.read()
	if err != nil {
		return nil, err
	}
	c.pair.Store(pair)
	return c, nil
}

func (c *certificate) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.chain, c.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", c.chain, c.key, err)
	}
	return &pair, nil
}

// get is tls.Config.GetCertificate. A pair that has changed into none that fits
// leaves the old one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.files.changed() {
		pair, err := c.read()
		if err != nil {
			c.report(fmt.Sprintf("warning: %v; the one from before stays in use", err))
		} else {
			c.pair.Store(pair)
			c.report(fmt.Sprintf("certificate %q: read again, valid until %s", c.chain, pair.Leaf.NotAfter.UTC().Format("2006-01-02 15:04:05Z")))
		}
	}
	return c.pair.Load(), nil
}
