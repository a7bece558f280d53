package conntrack

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// getStatistics asks for the size of the table, IPCTNL_MSG_CT_GET_STATS of
// linux/netfilter/nfnetlink_conntrack.h.
const getStatistics = 5

// answerWait is how long the kernel may take for each part of an answer.
const answerWait = 5 * time.Second

// table is the kernel's table of connections in one network namespace.
type table struct{ socket *nl.SocketHandle }

// openTable opens that of the calling thread's namespace.
func openTable() (*table, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	t := &table{&nl.SocketHandle{Socket: socket}}
	limit := unix.NsecToTimeval(answerWait.Nanoseconds())
	if err := errors.Join(socket.SetSendTimeout(&limit), socket.SetReceiveTimeout(&limit)); err != nil {
		t.close()
		return nil, fmt.Errorf("limit the waits for netlink: %w", err)
	}
	// The answer says that there are more to come, and there are none: hence ACK.
	request := t.request(getStatistics, unix.NLM_F_ACK, unix.AF_UNSPEC)
	if _, err := request.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
		t.close()
		if errors.Is(err, syscall.EPERM) {
			return nil, fmt.Errorf("missing capability CAP_NET_ADMIN: run as root, or grant it to the binary with setcap: %w", err)
		}
		return nil, fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	return t, nil
}

func (t *table) close() { t.socket.Close() }

func (t *table) request(operation, flags int, family uint8) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(subsystem<<8|operation, flags)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: t.socket}
	request.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return request
}

// each calls do for every entry of either version of IP; whole is false where the
// table changed so that some may be missing.
func (t *table) each(do func(entry []byte)) (whole bool, err error) {
	whole = true
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := t.request(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, family)
		err := request.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(entry []byte) bool {
			do(entry)
			return true
		})
		if errors.Is(err, nl.ErrDumpInterrupted) {
			whole = false
		} else if err != nil {
			return false, err
		}
	}
	return whole, nil
}
