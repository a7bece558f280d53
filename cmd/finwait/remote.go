package main

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api/client"
)

// Environment variables that stand for flags.
const (
	serverVariable    = "FINWAIT_SERVER"
	tokenFileVariable = "FINWAIT_TOKEN_FILE"
	caFileVariable    = "FINWAIT_CA_FILE"
)

// remoteFlags say which appliance is asked.
type remoteFlags struct{ server, tokenFile, caFile string }

func addRemoteFlags(cmd *cobra.Command) *remoteFlags {
	f := new(remoteFlags)
	flags := cmd.Flags()
	flags.StringVar(&f.server, "server", "", fmt.Sprintf("URL of the appliance that is asked (%s, or what %s says)", client.DefaultServer, serverVariable))
	flags.StringVar(&f.tokenFile, "token-file", "", fmt.Sprintf("file with the appliance's token (or %s)", tokenFileVariable))
	flags.StringVar(&f.caFile, "ca-file", "", fmt.Sprintf("certificates to trust beside the system's, PEM (or %s)", caFileVariable))
	return f
}

// client makes one; the error says which flag is wrong.
func (f *remoteFlags) client() (*client.Client, error) {
	if f.server != "" && isNetwork(f.server) {
		return nil, usageError{fmt.Errorf("--server %q: names the appliance that is asked, as %s; connections of a server are chosen by --server-ip %s",
			f.server, client.DefaultServer, f.server)}
	}
	c, err := client.New(client.Config{
		Server:    orVariable(f.server, serverVariable),
		TokenFile: orVariable(f.tokenFile, tokenFileVariable),
		CAFile:    orVariable(f.caFile, caFileVariable),
	})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

func orVariable(value, variable string) string {
	if value != "" {
		return value
	}
	return os.Getenv(variable)
}

// isNetwork tells an address or a prefix, which is not what names an appliance.
func isNetwork(text string) bool {
	_, noAddress := netip.ParseAddr(text)
	_, noPrefix := netip.ParsePrefix(text)
	return noAddress == nil || noPrefix == nil
}
