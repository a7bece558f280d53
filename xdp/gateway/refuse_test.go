package gateway

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/netns"
)

// TestLeastCapabilities: what is asked for suffices, with tcx and without.
func TestLeastCapabilities(t *testing.T) {
	for _, classic := range []bool{false, true} {
		s := newSite(t)
		runtime.LockOSThread() // the thread ends with the test: it keeps what it loses here
		if err := netns.Enter(s.Box); err != nil {
			t.Fatal(err)
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			t.Fatal(err)
		}
		all := data
		data[0].Effective = 1 << unix.CAP_NET_ADMIN
		data[1].Effective = 1<<(unix.CAP_BPF-32) | 1<<(unix.CAP_PERFMON-32)
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Fatal(err)
		}
		g, err := Open(Config{Interfaces: []string{lan}, MaxFlows: 1 << 10, classic: classic})
		if err == nil {
			err = g.Accounts().Peek([]segment.Key{{Scope: 1}}, make([]segment.Counters, 1))
		}
		if err == nil {
			err = g.Close()
		}
		if err != nil {
			t.Errorf("by tc %t: %v", classic, err)
		}
		if err := unix.Capset(&header, &all[0]); err != nil {
			t.Fatal(err)
		}
	}
}
