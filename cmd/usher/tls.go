package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tlsFlags let usher terminate TLS itself.
type tlsFlags struct {
	TLSCert string `name:"tls-cert" env:"USHER_TLS_CERT" placeholder:"FILE" help:"Certificate chain in PEM, reloaded when it changes."`
	TLSKey  string `name:"tls-key" env:"USHER_TLS_KEY" placeholder:"FILE" help:"Private key in PEM, reloaded when it changes."`
}

// config returns the certificate too, for its expiry; nil if none was given.
func (f *tlsFlags) config() (*tls.Config, *certificate, error) {
	if f.TLSCert == "" && f.TLSKey == "" {
		return nil, nil, nil
	}
	if f.TLSCert == "" || f.TLSKey == "" {
		return nil, nil, errors.New("--tls-cert and --tls-key belong together: give both")
	}
	c := &certificate{certFile: f.TLSCert, keyFile: f.TLSKey}
	if _, err := c.get(nil); err != nil {
		return nil, nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}, c, nil
}

// certificate returns the present certificate of the files.
type certificate struct {
	certFile, keyFile string

	mu       sync.Mutex
	modified [2]time.Time
	current  *tls.Certificate
}

// get reads the files again when either has changed. If the pair does not match, for
// example because only one file is written, the last good pair stays in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var modified [2]time.Time
	for i, name := range [2]string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			modified[i] = info.ModTime()
		}
	}
	if c.current != nil && modified == c.modified {
		return c.current, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil && c.current == nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	if err == nil {
		c.current, c.modified = &pair, modified
	}
	return c.current, nil
}

// expiry is a metric with the expiry of the certificate in use.
func (c *certificate) expiry() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_tls_certificate_expiry_timestamp_seconds",
		Help: "When the TLS certificate in use expires.",
	}, func() float64 {
		pair, err := c.get(nil)
		if err != nil || pair.Leaf == nil {
			return 0
		}
		return float64(pair.Leaf.NotAfter.Unix())
	})
}
