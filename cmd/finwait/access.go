package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/spf13/pflag"

	"github.com/finwait/finwait/api/access"
)

// accessFlags say who may ask the HTTP API.
type accessFlags struct {
	tokenFile, certificate, key string
	hosts                       []string
}

func addAccessFlags(flags *pflag.FlagSet) *accessFlags {
	f := new(accessFlags)
	flags.StringVar(&f.tokenFile, "token-file", "", "file of tokens, one a line, of which every request to the API needs one; read again when it changes")
	flags.StringVar(&f.certificate, "tls-cert", "", "file of the certificate chain for HTTPS, PEM; read again when it changes")
	flags.StringVar(&f.key, "tls-key", "", "file of its key, PEM")
	flags.StringSliceVar(&f.hosts, "allow-host", nil, "names by which the API may be asked without a token, beside addresses and localhost")
	return f
}

// open reads what the flags name, and checks that the listener's address may be
// served so.
func (f *accessFlags) open(listen string, listener net.Listener, config access.Config) (*access.Access, error) {
	loopback := listener.Addr().(*net.TCPAddr).IP.IsLoopback()
	switch {
	case !loopback && f.tokenFile == "":
		return nil, usageError{fmt.Errorf("--listen %q: others reach this address, so --token-file is needed: 'openssl rand -hex 32' makes a token; "+
			"or listen on %s", listen, defaultListen)}
	case (f.certificate == "") != (f.key == ""):
		return nil, usageError{errors.New("--tls-cert and --tls-key: one of them is missing")}
	}
	config.TokenFile, config.CertificateFile, config.KeyFile, config.Hosts = f.tokenFile, f.certificate, f.key, f.hosts
	config.Public = isPublic
	a, err := access.New(config)
	if err != nil {
		return nil, fmt.Errorf("--token-file, --tls-cert, --tls-key: %w", err)
	}
	return a, nil
}

// isPublic tells what is answered without a token: whether the appliance works,
// and the page, which holds nothing but itself and asks for the token.
func isPublic(r *http.Request) bool {
	return r.URL.Path == "/healthz" || r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/page/")
}

// warnOfAccess says what others could do that the operator may not want.
func warnOfAccess(a *access.Access, address net.Addr, w io.Writer) {
	if !address.(*net.TCPAddr).IP.IsLoopback() && !a.Secure() {
		fmt.Fprintf(w, "warning: tokens and answers are not encrypted on their way to %s: use --tls-cert and --tls-key\n", address)
	}
	for _, warning := range a.Warnings() {
		fmt.Fprintln(w, "warning:", warning)
	}
}
