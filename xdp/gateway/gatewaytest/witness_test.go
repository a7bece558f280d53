package gatewaytest

import (
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// TestWitness: what the box lets through is all there, and a single segment that it
// does not is missed.
func TestWitness(t *testing.T) {
	s := New(t)
	at := s.Serve(1000)
	w := s.Witness()
	for _, to := range at {
		s.In(s.Client, func() error { return Exchange(to, 1000, 1000) })
	}
	if err := w.Missing(); err != nil {
		t.Error(err)
	}
	s.dropFIN(t)
	s.In(s.Client, func() error { return Exchange(at[0], 1000, 1000) }) // the client repeats its FIN
	if err := w.Missing(); err == nil || !strings.Contains(err.Error(), "that the client sent") {
		t.Errorf("the box has dropped a segment of the client's: %v", err)
	}
}

// dropFIN has the box drop the first FIN that it sees, and no other: of nft(8),
//
//	chain forward { type filter hook forward priority filter; tcp flags & fin != 0 limit rate 1/week burst 1 packets drop; }
func (s *Site) dropFIN(tb testing.TB) {
	tb.Helper()
	nft, err := nftables.New(nftables.WithNetNSFd(int(s.Box.Fd())))
	if err != nil {
		tb.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Name: "loss", Family: nftables.TableFamilyINet})
	chain := nft.AddChain(&nftables.Chain{Name: "forward", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{1}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}},
		&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeWeek, Burst: 1},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	if err := nft.Flush(); err != nil {
		tb.Fatal(err)
	}
}
