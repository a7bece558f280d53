package gatewaytest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Witness counts what of TCP leaves and reaches the ends of a Site, both in the ends
// themselves: between them is nothing but the box. Super-packets count once.
type Witness struct {
	ends [2]witnessed // client, server
}

// witnessed is one end, where nftables counts.
type witnessed struct {
	name       string
	nft        *nftables.Conn
	table      *nftables.Table
	sent, came *nftables.Chain
}

// Witness begins to count.
func (s *Site) Witness() *Witness {
	s.tb.Helper()
	w := &Witness{[2]witnessed{{name: "client"}, {name: "server"}}}
	for i, space := range []*os.File{s.Client, s.Server} {
		if err := w.ends[i].open(space); err != nil {
			s.tb.Fatal(err)
		}
	}
	return w
}

// open is, in the words of nft(8):
//
//	table inet witness {
//		chain sent { type filter hook output priority filter; meta l4proto tcp counter; }
//		chain came { type filter hook prerouting priority filter; meta l4proto tcp counter; }
//	}
func (e *witnessed) open(space *os.File) (err error) {
	if e.nft, err = nftables.New(nftables.WithNetNSFd(int(space.Fd()))); err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	e.table = e.nft.AddTable(&nftables.Table{Name: "witness", Family: nftables.TableFamilyINet})
	e.sent = e.count("sent", nftables.ChainHookOutput)
	e.came = e.count("came", nftables.ChainHookPrerouting)
	if err := e.nft.Flush(); err != nil {
		return fmt.Errorf("count what passes an end (needs nftables in the kernel): %w", err)
	}
	return nil
}

func (e *witnessed) count(name string, hook *nftables.ChainHook) *nftables.Chain {
	chain := e.nft.AddChain(&nftables.Chain{Name: name, Table: e.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter})
	e.nft.AddRule(&nftables.Rule{Table: e.table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Counter{},
	}})
	return chain
}

// packets is the counter of one of an end's chains.
func (e *witnessed) packets(chain *nftables.Chain) (uint64, error) {
	rules, err := e.nft.GetRules(e.table, chain)
	if err != nil {
		return 0, fmt.Errorf("read what passed an end: %w", err)
	}
	for _, rule := range rules {
		for _, e := range rule.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				return c.Packets, nil
			}
		}
	}
	return 0, errors.New("read what passed an end: its counter is gone")
}

// settle is how long packets may be under way once nothing is sent any more.
const settle = time.Second

// Missing is what has not arrived of all that either end sent, as an error. The ends
// have to be at rest.
func (w *Witness) Missing() error {
	for deadline := time.Now().Add(settle); ; time.Sleep(settle / 100) {
		there, back := w.way(0, 1), w.way(1, 0)
		err := errors.Join(there, back)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (w *Witness) way(from, to int) error {
	// What arrives is read last: nothing that is counted there may be unknown here.
	sent, err := w.ends[from].packets(w.ends[from].sent)
	if err != nil {
		return err
	}
	came, err := w.ends[to].packets(w.ends[to].came)
	if err == nil && came != sent {
		err = fmt.Errorf("of %d packets that the %s sent, %d reached the %s", sent, w.ends[from].name, came, w.ends[to].name)
	}
	return err
}
