package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/netns"
)

// requireRoot skips a test that needs root, and fails it where CI=true.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// build makes a network that goes with its test, and checks that nothing of
// it stays.
func build(t *testing.T, config Config) *Network {
	t.Helper()
	return keep(t, func() (*Network, error) { return Build(config) })
}

func keep(t *testing.T, build func() (*Network, error)) *Network {
	t.Helper()
	requireRoot(t)
	before := interfaces(t)
	network, err := build()
	if err != nil {
		t.Fatal(err)
	}
	inodes := inodesOf(t, network)
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
		requireGone(t, inodes)
		if after := interfaces(t); after != before {
			t.Errorf("interfaces %q after the lab, %q before", after, before)
		}
	})
	return network
}

func inodesOf(t *testing.T, n *Network) []uint32 {
	t.Helper()
	var inodes []uint32
	for in := range Namespace(namespaces) {
		inode, err := n.Inode(in)
		if err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, inode)
	}
	return inodes
}

// interfaces lists those with a name of the lab's in the namespace the test was
// started in, where others' may come and go.
func interfaces(t *testing.T) string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, link := range links {
		switch name := strings.TrimPrefix(link.Attrs().Name, "to-"); name {
		case hubInterface, clientInterface, serverInterface, TapInterface:
			names = append(names, link.Attrs().Name)
		}
	}
	return strings.Join(names, " ")
}

// holders lists whatever keeps one of the namespaces: a thread in it, a
// descriptor, a mount.
func holders(t *testing.T, inodes []uint32) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/proc/[0-9]*/task/*/ns/net", "/proc/[0-9]*/fd/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			target, _ := os.Readlink(path) // a thread may have ended since
			for _, inode := range inodes {
				if target == fmt.Sprintf("net:[%d]", inode) {
					found = append(found, path)
				}
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, inode := range inodes {
		if strings.Contains(string(mounts), fmt.Sprintf("net:[%d]", inode)) {
			found = append(found, fmt.Sprintf("mount of net:[%d]", inode))
		}
	}
	return found
}

func requireGone(t *testing.T, inodes []uint32) {
	t.Helper()
	if found := holders(t, inodes); len(found) > 0 {
		t.Errorf("the namespaces are kept by %q", found)
	}
}

func TestNetworkIsBuiltAndRemoved(t *testing.T) {
	network := build(t, Config{TapQueues: 4})
	inodes := inodesOf(t, network)
	if len(holders(t, inodes)) < namespaces {
		t.Error("the check for namespaces does not find those of a lab that stands")
	}
	err := network.Do(Tap, func() error {
		link, err := netlink.LinkByName(TapInterface)
		if err != nil {
			return err
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil || len(addresses) > 0 {
			t.Errorf("the tap has addresses %v (%v)", addresses, err)
		}
		if got := link.Attrs().NumRxQueues; got != 4 {
			t.Errorf("the tap has %d receive queues, expected 4", got)
		}
		if link.Attrs().OperState != netlink.OperUp {
			t.Errorf("the tap is %q", link.Attrs().OperState)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := network.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := network.Do(Tap, func() error { return nil }); err == nil {
		t.Error("a closed lab let somebody in")
	}
	if _, err := network.Inode(Hub); err == nil {
		t.Error("a closed lab has inode numbers")
	}
}

func TestBuildRejects(t *testing.T) {
	for _, queues := range []int{-1, maxTapQueues + 1} {
		if network, err := Build(Config{TapQueues: queues}); err == nil {
			network.Close()
			t.Errorf("%d queues were accepted", queues)
		}
	}
}

// TestBuildUndoesItself has the last step go wrong, by an error and by a panic.
func TestBuildUndoesItself(t *testing.T) {
	requireRoot(t)
	wrong := errors.New("wrong")
	var inodes []uint32
	for name, last := range map[string]func(*Network, Config) error{
		"error": func(n *Network, _ Config) error { inodes = inodesOf(t, n); return wrong },
		"panic": func(n *Network, _ Config) error { inodes = inodesOf(t, n); panic(wrong) },
	} {
		t.Run(name, func(t *testing.T) {
			inodes = nil
			network := &Network{}
			func() {
				defer func() {
					if recovered := recover(); (recovered != nil) != (name == "panic") {
						t.Errorf("recovered %v", recovered)
					}
				}()
				err := network.build(Config{TapQueues: 1}, (*Network).makeNamespaces, (*Network).makeHub, (*Network).joinEnds, last)
				if !errors.Is(err, wrong) {
					t.Errorf("error %v, expected %q", err, wrong)
				}
			}()
			if len(inodes) != namespaces {
				t.Fatalf("%d namespaces were made", len(inodes))
			}
			requireGone(t, inodes)
			if network.namespace != [namespaces]*os.File{} {
				t.Error("a network that was not built holds namespaces")
			}
		})
	}
}

// TestDoRestoresTheThread also after a panic.
func TestDoRestoresTheThread(t *testing.T) {
	network := build(t, Config{})
	inodes := inodesOf(t, network)
	inside := func() error {
		target, err := os.Readlink(netns.Current)
		if want := fmt.Sprintf("net:[%d]", inodes[Server]); target != want {
			t.Errorf("in namespace %q, expected %q (%v)", target, want, err)
		}
		return nil
	}
	if err := network.Do(Server, inside); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = network.Do(Server, func() error { panic("out") })
	}()
	for _, holder := range holders(t, inodes) {
		if strings.Contains(holder, "/task/") {
			t.Errorf("a thread stayed: %s", holder)
		}
	}
}

// TestNetworkDiesWithItsProcess kills a process that holds a lab.
func TestNetworkDiesWithItsProcess(t *testing.T) {
	const victim = "FINWAIT_LAB_VICTIM"
	if os.Getenv(victim) != "" {
		network, err := Build(Config{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(inodesOf(t, network))
		time.Sleep(time.Minute) // killed long before
	}
	requireRoot(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(executable, "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), victim+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(output).ReadString('\n')
	inodes := make([]uint32, namespaces)
	_, scanErr := fmt.Sscanf(line, "[%d %d %d %d]", &inodes[0], &inodes[1], &inodes[2], &inodes[3])
	alive := holders(t, inodes)
	if err := command.Process.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = command.Wait() // it was killed, and says so
	if readErr != nil || scanErr != nil {
		t.Fatalf("the process said %q (%v, %v)", line, readErr, scanErr)
	}
	if len(alive) < namespaces {
		t.Errorf("while it lived, the namespaces were kept by %q only", alive)
	}
	requireGone(t, inodes)
}
