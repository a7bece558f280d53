package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/cgroup/cgrouptest"
	"github.com/finwait/finwait/xdp/gateway"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
	"github.com/finwait/finwait/xdp/netns"
)

const ownedOctets = 5000

// ownerTask makes the test binary a process that does as it says and ends.
const ownerTask = "FINWAIT_TEST_OWNER"

func init() {
	task, address, asked := strings.Cut(os.Getenv(ownerTask), " ")
	if !asked {
		return
	}
	do := serveOwned
	if task == "dial" {
		do = dialOwned
	}
	if err := do(address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveOwned says where it listens and answers until its input ends.
func serveOwned(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go gatewaytest.Answer(l, ownedOctets)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func dialOwned(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return gatewaytest.Exchange(at, ownedOctets, ownedOctets)
}

// ownerSite is a site with processes in groups of their own.
type ownerSite struct {
	*gatewaytest.Site
	t *testing.T
}

// task prepares a process.
func (s *ownerSite) task(task, address string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerTask+"="+task+" "+address)
	cmd.Stderr = os.Stderr
	return cmd
}

// serve starts a server in a namespace and a group.
func (s *ownerSite) serve(ns *os.File, g *cgrouptest.Group, at netip.Addr) (server string) {
	s.t.Helper()
	cmd := s.task("serve", netip.AddrPortFrom(at, 0).String())
	if _, err := cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.In(ns, func() error { return g.Start(s.t, cmd) })
	server, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(server)
}

// dial has a process in a namespace and a group open a connection.
func (s *ownerSite) dial(ns *os.File, g *cgrouptest.Group, server string) {
	s.t.Helper()
	cmd := s.task("dial", server)
	s.In(ns, func() error { return g.Start(s.t, cmd) })
	if err := cmd.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// measure starts an appliance in a namespace, on these interfaces.
func (s *ownerSite) measure(ns *os.File, out *bytes.Buffer, owners bool, interfaces ...string) *appliance {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	timeouts := flowtable.LiveTimeouts()
	timeouts.Linger = time.Minute // the end writes what lingers
	var a *appliance
	err = netns.Do(ns, func() (err error) {
		a, err = startAppliance(s.t.Context(), applianceConfig{
			gateway:  &gateway.Config{Interfaces: interfaces, MaxFlows: 1 << 12, Owners: owners},
			maxFlows: 1 << 12, recent: 1 << 10, timeouts: timeouts, listener: listener, records: out,
			patience: 10 * time.Second, report: func(line string) { s.t.Log(line) },
		})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := a.close(); err != nil {
			s.t.Error(err)
		}
	})
	return a
}

// owned is what a record tells of both ends' owners; a field that is not there is "-".
func owned(record map[string]any) string {
	text := []string{fmt.Sprint(record["interface"])}
	for _, name := range []string{"client_process", "server_process"} {
		value, found := record[name]
		if !found {
			value = "-"
		}
		text = append(text, fmt.Sprint(value))
	}
	return strings.Join(text, " ")
}

// TestOwners: on a server, records tell of its own ends of connections which control group
// they belong to, also when that is gone, and of remote ends nothing.
func TestOwners(t *testing.T) {
	s := &ownerSite{gatewaytest.New(t), t}
	service, job, far := cgrouptest.New(t), cgrouptest.New(t).Below(t, "job"), cgrouptest.New(t)
	var out bytes.Buffer
	a := s.measure(s.Server, &out, true, gatewaytest.End, "lo")
	checkGatewaysDocument(t, a.status().Ledger)
	var want []string
	for _, f := range gatewaytest.Families {
		server, remote := s.serve(s.Server, service, f.Server), s.serve(s.Client, far, f.Client)
		s.dial(s.Client, far, server)
		s.dial(s.Server, job, remote)
		s.dial(s.Server, job, server)
		want = append(want, "end - "+service.Path, "end "+job.Path+" -", "lo "+job.Path+" "+service.Path)
	}
	s.expectFollowed(a, job.Path, 4)
	if err := job.Remove(); err != nil { // before there is any record
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, r := range readObjects(t, out.String()) {
		told = append(told, owned(r))
	}
	slices.Sort(want)
	slices.Sort(told)
	if !slices.Equal(told, want) {
		t.Errorf("records tell\n%s\nnot\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	s.expectAnswers(a, service.Path, job.Path)
}

// expectFollowed asks for the connections, lingering still, of a client's group.
func (s *ownerSite) expectFollowed(a *appliance, group string, count uint64) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("follow %d connections of %q", count, group), func() bool {
		var answer struct{ Total uint64 }
		s.ask(a, "/v1/connections?client_process="+url.QueryEscape(group), &answer)
		return answer.Total == count
	})
}

// expectAnswers asks for what the records of TestOwners are made of.
func (s *ownerSite) expectAnswers(a *appliance, service, job string) {
	s.t.Helper()
	parent := job[:strings.LastIndex(job, "/")]
	for query, count := range map[string]int{
		"server_process=" + service: 4, "client_process=" + job: 4, "client_process=" + parent: 4, "client_process=" + parent + "/": 4,
		"client_process=/": 4, "process=/": 6, "process=" + service + "," + job: 6, "client_process=" + service: 0,
		"server_process=" + service + "&client_process=" + job: 2, "client_process=" + parent[:len(parent)-1]: 0,
	} {
		var answer struct{ Flows []json.RawMessage }
		if s.ask(a, "/v1/flows?"+query, &answer); len(answer.Flows) != count {
			s.t.Errorf("%s: %d flows, not %d", query, len(answer.Flows), count)
		}
	}
	var top struct {
		Groups []struct {
			Key struct {
				Client *string `json:"client_process"`
				Server *string `json:"server_process"`
			}
			Value int
		}
	}
	s.ask(a, "/v1/top?by=connections&group_by=server_process,client_process", &top)
	told := map[string]int{}
	for _, g := range top.Groups {
		told[*g.Key.Server+" "+*g.Key.Client] = g.Value
	}
	if len(told) != 3 || told[service+" "] != 2 || told[service+" "+job] != 2 || told[" "+job] != 2 {
		s.t.Errorf("grouped by owners: %v", told)
	}
}

func (s *ownerSite) ask(a *appliance, path string, into any) {
	s.t.Helper()
	body, err := get(s.t.Context(), a.config.listener.Addr(), path)
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestOwnersOfOthers: what a box forwards has no owner there, nor has what a kernel
// answers by itself; and where nobody asks, nothing is told.
func TestOwnersOfOthers(t *testing.T) {
	s := &ownerSite{gatewaytest.New(t), t}
	service := cgrouptest.New(t)
	var asked, off bytes.Buffer
	box, server := s.measure(s.Box, &asked, true, gatewaytest.WAN), s.measure(s.Server, &off, false, gatewaytest.End)
	for _, f := range gatewaytest.Families {
		// A port where nobody listens: the RST comes from a socket of the kernel's own.
		s.In(s.Client, func() error {
			if c, err := net.DialTimeout("tcp", netip.AddrPortFrom(f.Server, 1).String(), 5*time.Second); err == nil {
				c.Close()
				return fmt.Errorf("somebody listens at %v", c.RemoteAddr())
			}
			return nil
		})
		s.dial(s.Client, service, s.serve(s.Server, service, f.Server))
	}
	for _, a := range []*appliance{box, server} {
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(off.String(), "_process") {
		t.Errorf("owners are told though nobody asks: %s", off.String())
	}
	// The server is a namespace of this machine, beside the interface: its packets come
	// with their sockets. The client is one hop further away.
	refused, answered := 0, 0
	for _, r := range readObjects(t, asked.String()) {
		switch {
		case r["close_kind"] == "refused" && owned(r) == "wan - -":
			refused++
		case r["close_kind"] != "refused" && owned(r) == "wan - "+service.Path:
			answered++
		default:
			t.Errorf("a %v connection tells %q", r["close_kind"], owned(r))
		}
	}
	if refused != 2 || answered != 2 {
		t.Errorf("%d refused connections, %d that were answered, of 2 each", refused, answered)
	}
}
