package api

import "github.com/finwait/finwait/flowtable"

// setOtherSide sets what a gateway knows from the same connection's passing by on
// the other side of the box.
func (f *Flow) setOtherSide(r *flowtable.Record, n *Names) {
	p := &r.Peer
	f.InterfaceFaces = p.Faces.String()
	f.PeerFlowID = known(n.FlowID(p.Serial), p.Found)
	f.NATClientIP, f.NATClientPort = known(Address(&p.Client).String(), p.Translated), known(p.ClientPort, p.Translated)
	f.NATServerIP, f.NATServerPort = known(Address(&p.Server).String(), p.Translated), known(p.ServerPort, p.Translated)
	f.SYNTransitNS = known(passed(p, flowtable.SYNAt))
	f.SYNACKTransitNS = known(passed(p, flowtable.SYNACKAt))
	f.FIN1TransitNS = known(passed(p, flowtable.FIN1At))
	f.ACK1TransitNS = known(passed(p, flowtable.ACK1At))
	f.FIN2TransitNS = known(passed(p, flowtable.FIN2At))
	f.ACK2TransitNS = known(passed(p, flowtable.ACK2At))
	f.RSTTransitNS = known(passed(p, flowtable.RSTAt))
}

func passed(p *flowtable.Peer, m flowtable.Moment) (int64, bool) {
	ns, ok := p.Passed(m)
	return int64(ns), ok
}

// otherSide appends the same members.
func (e *encoder) otherSide(r *flowtable.Record) {
	p := &r.Peer
	e.text("interface_faces", p.Faces.String())
	e.key("peer_flow_id")
	if p.Found {
		e.b = append(e.names.appendFlowID(append(e.b, '"'), p.Serial), '"')
	} else {
		e.null()
	}
	e.translated("nat_client_ip", &p.Client, p.Translated)
	e.unsigned("nat_client_port", uint64(p.ClientPort), p.Translated)
	e.translated("nat_server_ip", &p.Server, p.Translated)
	e.unsigned("nat_server_port", uint64(p.ServerPort), p.Translated)
	e.transit("syn_transit_ns", p, flowtable.SYNAt)
	e.transit("syn_ack_transit_ns", p, flowtable.SYNACKAt)
	e.transit("fin1_transit_ns", p, flowtable.FIN1At)
	e.transit("ack1_transit_ns", p, flowtable.ACK1At)
	e.transit("fin2_transit_ns", p, flowtable.FIN2At)
	e.transit("ack2_transit_ns", p, flowtable.ACK2At)
	e.transit("rst_transit_ns", p, flowtable.RSTAt)
}

func (e *encoder) translated(name string, a *[16]byte, ok bool) {
	if ok {
		e.address(name, a)
		return
	}
	e.key(name)
	e.null()
}

func (e *encoder) transit(name string, p *flowtable.Peer, m flowtable.Moment) {
	ns, ok := passed(p, m)
	e.signed(name, ns, ok)
}
