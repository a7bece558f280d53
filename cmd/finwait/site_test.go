package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/lab"
)

// patience bounds every wait for something that must happen; how long it takes
// decides nothing.
const patience = 20 * time.Second

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// site is where an appliance works: a hub with a client, a server and a tap
// whose namespace has a loopback interface for the API.
type site struct {
	*lab.Network
	t *testing.T
}

func newSite(t *testing.T, queues int) *site {
	t.Helper()
	needRoot(t)
	network, err := lab.Build(lab.Config{TapQueues: queues})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &site{network, t}
	s.do(lab.Tap, func() error {
		loopback, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(loopback)
	})
	return s
}

func (s *site) do(in lab.Namespace, fn func() error) {
	s.t.Helper()
	if err := s.Do(in, fn); err != nil {
		s.t.Fatal(err)
	}
}

// tap returns the tap's interface as it is now.
func (s *site) tap() netlink.Link {
	s.t.Helper()
	var link netlink.Link
	s.do(lab.Tap, func() (err error) {
		link, err = netlink.LinkByName(lab.TapInterface)
		return err
	})
	return link
}

// traces are what an appliance could leave behind: on the interface, and in
// this process, whose open files hold every program, map, socket and namespace.
type traces struct {
	program uint32
	promisc int
	flags   uint32 // offloads (ETHTOOL_GFLAGS)
	rings   int    // of AF_XDP sockets that are mapped
	files   map[string]int
}

func (a traces) equal(b traces) bool {
	same := maps.Equal(a.files, b.files)
	a.files, b.files = nil, nil
	return same && a.interfaceEqual(b) && a.rings == b.rings
}

func (a traces) interfaceEqual(b traces) bool {
	return a.program == b.program && a.promisc == b.promisc && a.flags == b.flags
}

func (s *site) traces() traces {
	s.t.Helper()
	attributes := s.tap().Attrs()
	found := traces{promisc: attributes.Promisc, flags: s.offloads(), files: map[string]int{}}
	if x := attributes.Xdp; x != nil && x.Attached {
		found.program = x.ProgId
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, link := range links {
		// The descriptor of the listing itself is gone by now.
		if to, err := os.Readlink(link); err == nil {
			kind, _, _ := strings.Cut(to, ":[")
			found.files[kind]++
		}
	}
	mappings, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		s.t.Fatal(err)
	}
	found.rings = bytes.Count(mappings, []byte("socket:["))
	return found
}

// offloads are the flags of ETHTOOL_GFLAGS (linux/ethtool.h), VLAN stripping
// and LRO among them.
func (s *site) offloads() uint32 {
	s.t.Helper()
	const ethtoolGetFlags = 0x25
	value := struct{ command, data uint32 }{command: ethtoolGetFlags}
	s.do(lab.Tap, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], lab.TapInterface)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if err := unix.Close(fd); err != nil || errno != 0 {
			return errors.Join(err, errno)
		}
		return nil
	})
	return value.data
}

// output collects what several goroutines write.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// running is a 'finwait run' in the tap's namespace and in this process.
type running struct {
	*site
	stdout, stderr output
	api            string // address and port
	interrupt      context.CancelFunc
	ended          chan struct{}
	status         int // valid once ended
}

// apiAddress is what an appliance says of its API.
var apiAddress = regexp.MustCompile(`(?m)^API: http://([^/]+)/v1/status`)

// start runs 'finwait run' on the tap until it answers.
func (s *site) start(args ...string) *running {
	s.t.Helper()
	r := s.launch(args...)
	eventually(s.t, "start", func() bool {
		select {
		case <-r.ended:
			s.t.Fatalf("ended at once with status %d: %s", r.status, r.stderr.String())
		default:
		}
		if found := apiAddress.FindStringSubmatch(r.stderr.String()); found != nil {
			r.api = found[1]
		}
		return r.api != ""
	})
	return r
}

func (s *site) launch(args ...string) *running {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	r := &running{site: s, interrupt: cancel, ended: make(chan struct{})}
	args = append([]string{"run", "--interface", lab.TapInterface, "--listen", "127.0.0.1:0", "--max-flows", "10000", "--recent", "10000"}, args...)
	go func() {
		defer close(r.ended)
		err := s.Do(lab.Tap, func() error {
			r.status = execute(ctx, args, &r.stdout, &r.stderr)
			return nil
		})
		if err != nil {
			s.t.Error(err)
		}
	}()
	s.t.Cleanup(func() { r.stop() })
	return r
}

// awaitEnd waits until it has ended by itself.
func (r *running) awaitEnd(what string) {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("%s: still running: %s", what, r.stderr.String())
	}
}

// stop interrupts, as SIGINT does, and returns the exit status.
func (r *running) stop() int {
	r.interrupt()
	<-r.ended
	return r.status
}

// dial opens a connection in the tap's namespace.
func (s *site) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = s.Do(lab.Tap, func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// ask returns the API's answer to a request with headers written as "Name: value".
func (s *site) ask(api, path string, headers ...string) (status int, body []byte) {
	s.t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.dial}}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+api+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err = io.ReadAll(answer.Body); err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, body
}

// query returns an answer of 200 as an object.
func (r *running) query(path string) object {
	r.t.Helper()
	status, body := r.ask(r.api, path)
	if status != http.StatusOK {
		r.t.Fatalf("%s: %d: %s", path, status, body)
	}
	return readObjects(r.t, string(body))[0]
}

// list returns the objects below a name of an answer.
func (r *running) list(path, name string) []object {
	r.t.Helper()
	var all []object
	for _, o := range r.query(path)[name].([]any) {
		all = append(all, o.(map[string]any))
	}
	return all
}

// losses are the ledger's entries of losses that are not 0, as stage/reason.
func losses(t *testing.T, status object) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	for _, e := range status["ledger"].([]any) {
		entry := object(e.(map[string]any))
		if n := entry.integer(t, "count"); n > 0 && entry["loss"] == true {
			found[entry["stage"].(string)+"/"+entry["reason"].(string)] += uint64(n)
		}
	}
	if sum, err := status["lost"].(json.Number).Int64(); err != nil || (sum > 0) != (len(found) > 0) {
		t.Errorf("lost is %v with losses %v", status["lost"], found)
	}
	return found
}

// connect opens a connection from the client to the server.
func (s *site) connect() (client, server *net.TCPConn) {
	s.t.Helper()
	var listener net.Listener
	address := netip.AddrPortFrom(s.address(lab.Server), 0).String()
	s.do(lab.Server, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	defer func() { _ = listener.Close() }()
	s.do(lab.Client, func() error {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			client = c.(*net.TCPConn)
			s.t.Cleanup(func() { _ = client.Close() })
		}
		return err
	})
	c, err := listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	server = c.(*net.TCPConn)
	s.t.Cleanup(func() { _ = server.Close() })
	return client, server
}

// closedConnection opens a connection, closes it from both ends, the client
// first, and returns the client's end and the record.
func (r *running) closedConnection() (client *net.TCPConn, flow object) {
	r.t.Helper()
	client, server := r.connect()
	for _, c := range []*net.TCPConn{client, server} {
		if err := c.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	var flows []object
	eventually(r.t, "record of a closed connection", func() bool {
		flows = r.list(of("/v1/flows", client), "flows")
		return len(flows) == 1
	})
	return client, flows[0]
}

// address is the IPv4 address of a namespace.
func (s *site) address(in lab.Namespace) netip.Addr {
	s.t.Helper()
	var found netip.Addr
	s.do(in, func() error {
		addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		for _, a := range addresses {
			if ip, ok := netip.AddrFromSlice(a.IP); ok && !ip.IsLoopback() {
				found = ip.Unmap()
			}
		}
		return err
	})
	if !found.IsValid() {
		s.t.Fatalf("no IPv4 address in namespace %q", in)
	}
	return found
}

// of asks for what is known of one connection.
func of(path string, client *net.TCPConn) string {
	return path + "?port=" + strconv.Itoa(client.LocalAddr().(*net.TCPAddr).Port)
}

// flood sends SYNs of so many clients past the tap, again and again until they
// have arrived: a veth that is served late drops some.
func (s *site) flood(clients int, arrived func() bool) {
	s.t.Helper()
	eventually(s.t, "arrival of a flood", func() bool {
		if arrived() {
			return true
		}
		s.do(lab.Client, func() error { return sendSYNs(clients) })
		return false
	})
}

// sendSYNs sends a SYN of each client out of this namespace's veth. The
// addresses are set aside for documentation, so that nobody answers.
func sendSYNs(clients int) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	to := &unix.SockaddrLinklayer{}
	for _, link := range links {
		if link.Type() == "veth" {
			to.Ifindex = link.Attrs().Index
		}
	}
	frame := synFrame()
	for n := 0; n < clients; {
		frame[29] = byte(n >> 15) // of the client's address
		binary.BigEndian.PutUint16(frame[34:], uint16(n&0x7fff+1024))
		err := unix.Sendto(socket, frame, 0, to)
		if err == nil {
			n++
		} else if !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
	return nil
}

// synFrame is a SYN in an Ethernet frame, from port 0 to port 9. Its checksums
// are 0, which a tap does not mind.
func synFrame() []byte {
	return []byte{
		2, 0, 0, 0, 9, 1, 2, 0, 0, 0, 9, 2, 8, 0,
		0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 99,
		0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0,
	}
}
