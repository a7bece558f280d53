package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pair makes a certificate for localhost and its key.
func pair(t *testing.T, dir, name string) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, octets []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: octets}))
	}
	return writeFile(t, filepath.Join(dir, name+".crt"), block("CERTIFICATE", certificate), 0o644),
		writeFile(t, filepath.Join(dir, name+".key"), block("PRIVATE KEY", octets), 0o600)
}

// shown returns the name in the certificate that the site shows.
func (s *site) shown() (name, protocol string) {
	s.Helper()
	c, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, c.ConnectionState().NegotiatedProtocol
}

func (s *site) shows(want string) bool {
	s.Helper()
	name, _ := s.shown()
	return name == want
}

func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	chain, key := pair(t, dir, "one")
	nextChain, nextKey := pair(t, dir, "two")
	s := newSite(t, Config{CertificateFile: chain, KeyFile: key})
	if name, protocol := s.shown(); name != "one" || protocol != "h2" {
		t.Errorf("certificate %q, protocol %q", name, protocol)
	}
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	answer, err := client.Get("https://" + s.address + "/question")
	if err != nil || answer.ProtoMajor != 2 || answer.StatusCode != 200 {
		t.Fatalf("%v: %v", answer, err)
	}
	_ = answer.Body.Close()

	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(nextChain, chain) // its key has not come yet
	eventually(t, "warning", func() bool { return s.shows("one") && s.said.contains("stays in use") })
	rename(nextKey, key)
	eventually(t, "next certificate", func() bool { return s.shows("two") })

	if _, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: "localhost"}); err == nil {
		t.Error("a certificate that nobody signed is trusted")
	}
	if _, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	before := s.refused(tlsHandshake)
	if got := status(s.dial(request("/question"))); got != 400 {
		t.Errorf("plain HTTP is answered with %d", got)
	}
	eventually(t, "refusal of a handshake", func() bool { return s.refused(tlsHandshake) > before })
}
