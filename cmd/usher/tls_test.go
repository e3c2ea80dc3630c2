package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestTLSFollowsItsFiles(t *testing.T) {
	t.Parallel()
	f := tlsFlags{TLSCert: filepath.Join(t.TempDir(), "cert.pem"), TLSKey: filepath.Join(t.TempDir(), "key.pem")}
	if _, _, err := f.config(); err == nil {
		t.Error("files that are not there were taken")
	}
	if _, _, err := (&tlsFlags{TLSCert: f.TLSCert}).config(); err == nil {
		t.Error("a certificate without its key was taken")
	}
	if cfg, _, err := (&tlsFlags{}).config(); cfg != nil || err != nil {
		t.Errorf("without flags: %v, %v; want no TLS", cfg, err)
	}
	write := func(serial int64, at time.Time) {
		cert, key := selfSigned(t, serial)
		for name, content := range map[string][]byte{f.TLSCert: cert, f.TLSKey: key} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, at, at); err != nil { // the file system's clock may be coarse
				t.Fatal(err)
			}
		}
	}
	now := time.Now()
	write(1, now)
	cfg, certificate, err := f.config()
	if err != nil {
		t.Fatal(err)
	}
	if pair, err := certificate.get(nil); err != nil || testutil.ToFloat64(certificate.expiry()) != float64(pair.Leaf.NotAfter.Unix()) {
		t.Errorf("the metric of its expiry is %f, %v", testutil.ToFloat64(certificate.expiry()), err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	served := func() int64 {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := served(); got != 1 {
		t.Errorf("serial = %d, want 1", got)
	}
	write(2, now.Add(time.Second))
	if got := served(); got != 2 {
		t.Errorf("after the files changed: serial = %d, want 2", got)
	}
	if err := os.WriteFile(f.TLSKey, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != 2 {
		t.Errorf("with a broken key: serial = %d, want the last good one", got)
	}
}

func selfSigned(t testing.TB, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"auth.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
