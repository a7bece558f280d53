package gatewaytest

import (
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// losses says where segments of a site may have been lost or repeated: what its TCP
// and its interfaces have counted since they were made, and what the machine's
// processors had no room for (softnet_stat) since it started.
func (s *Site) losses() string {
	var said []string
	for _, at := range []struct {
		name  string
		space *os.File
	}{{"client", s.Client}, {"box", s.Box}, {"server", s.Server}} {
		s.In(at.space, func() error {
			counters, err := os.ReadFile("/proc/thread-self/net/netstat")
			if err != nil {
				return err
			}
			links, err := netlink.LinkList()
			if err != nil {
				return err
			}
			said = append(said, fmt.Sprintf("%s: %s", at.name, strings.Join(append(tcpLosses(string(counters)), linkLosses(links)...), " ")))
			return nil
		})
	}
	processors, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return err.Error()
	}
	for i, line := range strings.Split(strings.TrimSpace(string(processors)), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] != "00000000" {
			said = append(said, fmt.Sprintf("processor %d: %s dropped", i, fields[1]))
		}
	}
	return strings.Join(said, "; ")
}

// tcpLosses are the counters of TcpExt, in the form of /proc/net/netstat, that tell of
// something lost or repeated.
func tcpLosses(table string) (said []string) {
	names, values, _ := strings.Cut(table, "\n")
	values, _, _ = strings.Cut(values, "\n")
	of := strings.Fields(values)
	for i, name := range strings.Fields(names) {
		tells := strings.Contains(name, "Drop") || strings.Contains(name, "Overflow") || strings.Contains(name, "Retrans") || strings.Contains(name, "Timeouts")
		if tells && i < len(of) && of[i] != "0" {
			said = append(said, name+" "+of[i])
		}
	}
	return said
}

func linkLosses(links []netlink.Link) (said []string) {
	for _, link := range links {
		if c := link.Attrs().Statistics; c != nil && c.RxDropped+c.TxDropped != 0 {
			said = append(said, fmt.Sprintf("%s %d dropped in, %d out", link.Attrs().Name, c.RxDropped, c.TxDropped))
		}
	}
	return said
}
