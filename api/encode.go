package api

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// AppendFlow appends the JSON object of a record to b, octet by octet what
// encoding/json makes of NewFlow without escaping for HTML, and without its
// allocations. No newline follows.
func AppendFlow(b []byte, r *flowtable.Record, n *Names) []byte {
	e := encoder{b: append(b, '{'), names: n}
	e.who(r)
	e.howMuch(r)
	e.opening(r)
	e.closing(r)
	e.verdict(r)
	e.otherSide(r)
	e.owner("client_process", &r.Client)
	e.owner("server_process", &r.Server)
	return append(e.b, '}')
}

// encoder appends members to an object in b. Most times of a record share their
// second, whose text is then copied from where b has it already: formatting
// times was more than half of all the work.
type encoder struct {
	b          []byte
	names      *Names
	second     int64 // since the epoch; of the text at secondText
	secondText int   // where b has it, secondLength octets; 0 for none yet
}

// secondLayout is timeLayout up to the decimals.
const (
	secondLayout = "2006-01-02T15:04:05."
	secondLength = len(secondLayout)
)

func (e *encoder) who(r *flowtable.Record) {
	e.key("flow_id")
	e.b = append(e.names.appendFlowID(append(e.b, '"'), r.Serial), '"')
	e.address("client_ip", &r.Client.Address)
	e.unsigned("client_port", uint64(r.Client.Port), true)
	e.address("server_ip", &r.Server.Address)
	e.unsigned("server_port", uint64(r.Server.Port), true)
	e.text("oriented_by", r.OrientedBy.String())
	e.unsigned("vlan_id", uint64(r.VLAN), true)
	e.encapsulation(r.Encapsulation)
	e.foreign("interface", e.names.Interface(r.Interface))
	e.text("evidence", r.Evidence.String())
}

func (e *encoder) howMuch(r *flowtable.Record) {
	counted := r.Accounting == flowtable.AccountingCounted
	e.time("start_at", r.StartAt, true)
	e.time("end_at", r.EndAt, true)
	e.unsigned("client_packets", r.Client.Packets, counted)
	e.unsigned("server_packets", r.Server.Packets, counted)
	e.unsigned("client_bytes", r.Client.Octets, counted)
	e.unsigned("server_bytes", r.Server.Octets, counted)
	e.unsigned("client_payload_bytes", r.Client.Payload, true)
	e.unsigned("server_payload_bytes", r.Server.Payload, true)
	e.unsigned("client_tcp_flags", uint64(r.Client.TCPFlags), true)
	e.unsigned("server_tcp_flags", uint64(r.Server.TCPFlags), true)
	e.text("accounting", r.Accounting.String())
}

func (e *encoder) opening(r *flowtable.Record) {
	e.moment("syn_at", r, flowtable.SYNAt)
	e.moment("syn_ack_at", r, flowtable.SYNACKAt)
	e.moment("established_at", r, flowtable.EstablishedAt)
	e.unsigned("client_syn_retransmits", uint64(r.Client.SYNRetransmits), true)
	e.unsigned("server_syn_ack_retransmits", uint64(r.Server.SYNRetransmits), true)
	ns, ok := r.Between(flowtable.SYNAt, flowtable.SYNACKAt)
	e.signed("server_handshake_ns", ns, ok)
	ns, ok = r.Between(flowtable.SYNACKAt, flowtable.EstablishedAt)
	e.signed("client_handshake_ns", ns, ok)
}

func (e *encoder) closing(r *flowtable.Record) {
	e.moment("fin1_at", r, flowtable.FIN1At)
	e.moment("ack1_at", r, flowtable.ACK1At)
	e.moment("fin2_at", r, flowtable.FIN2At)
	e.moment("ack2_at", r, flowtable.ACK2At)
	e.moment("rst_at", r, flowtable.RSTAt)
	e.text("rst_by", r.RSTBy.String())
	e.phase("fin_wait_1_ns", r, flowtable.FINWait1)
	e.phase("close_wait_ns", r, flowtable.CloseWait)
	e.phase("last_ack_ns", r, flowtable.LastACK)
	e.phase("teardown_ns", r, flowtable.Teardown)
	octets, ok := halfClosePayload(r)
	e.unsigned("half_close_payload_bytes", octets, ok)
	e.unsigned("client_fin_retransmits", uint64(r.Client.FINRetransmits), true)
	e.unsigned("server_fin_retransmits", uint64(r.Server.FINRetransmits), true)
	e.signed("reuse_after_ns", r.ReuseAfter, r.Reused)
	e.text("client_state", r.Client.State.String())
	e.text("server_state", r.Server.State.String())
}

func (e *encoder) verdict(r *flowtable.Record) {
	e.text("close_initiator", r.Initiator.String())
	e.text("close_kind", r.CloseKind.String())
	e.key("close_complete")
	e.b = strconv.AppendBool(e.b, r.Complete)
	e.text("end_reason", r.EndReason.String())
	e.unsigned("slice", uint64(r.Slice), true)
}

func (e *encoder) key(name string) {
	if e.b[len(e.b)-1] != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, name...)
	e.b = append(e.b, '"', ':')
}

func (e *encoder) moment(name string, r *flowtable.Record, m flowtable.Moment) {
	at, seen := r.Time(m)
	e.time(name, at, seen)
}

func (e *encoder) phase(name string, r *flowtable.Record, p flowtable.Phase) {
	ns, ok := r.Phase(p)
	e.signed(name, ns, ok)
}

func (e *encoder) time(name string, at int64, ok bool) {
	e.key(name)
	if !ok {
		e.null()
		return
	}
	wall := e.names.clock.Wall(at)
	second, ns := wall/1e9, wall%1e9
	if ns < 0 {
		second, ns = second-1, ns+1e9
	}
	e.b = append(e.b, '"')
	if e.secondText != 0 && second == e.second {
		e.b = append(e.b, e.b[e.secondText:e.secondText+secondLength]...)
	} else {
		e.second, e.secondText = second, len(e.b)
		e.b = time.Unix(second, 0).UTC().AppendFormat(e.b, secondLayout)
	}
	var decimals [9]byte
	for i := len(decimals) - 1; i >= 0; i-- {
		decimals[i] = '0' + byte(ns%10)
		ns /= 10
	}
	e.b = append(append(e.b, decimals[:]...), 'Z', '"')
}

func (e *encoder) unsigned(name string, v uint64, ok bool) {
	e.key(name)
	if !ok {
		e.null()
		return
	}
	e.b = strconv.AppendUint(e.b, v, 10)
}

func (e *encoder) signed(name string, v int64, ok bool) {
	e.key(name)
	if !ok {
		e.null()
		return
	}
	e.b = strconv.AppendInt(e.b, v, 10)
}

func (e *encoder) null() { e.b = append(e.b, "null"...) }

func (e *encoder) address(name string, a *[16]byte) {
	e.key(name)
	e.b = append(Address(a).AppendTo(append(e.b, '"')), '"')
}

// text is for terms, which need no escaping.
func (e *encoder) text(name, v string) {
	e.key(name)
	e.b = append(e.b, '"')
	e.b = append(e.b, v...)
	e.b = append(e.b, '"')
}

// foreign is for what others named: a file's name may hold any octets.
func (e *encoder) foreign(name, v string) {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			e.key(name)
			e.b = appendEscaped(e.b, v)
			return
		}
	}
	e.text(name, v)
}

func appendEscaped(b []byte, v string) []byte {
	w := appendWriter{b}
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	// A string is always encodable, and appendWriter takes everything.
	_ = enc.Encode(v)
	return w.b[:len(w.b)-1] // without the encoder's newline
}

type appendWriter struct{ b []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func (e *encoder) encapsulation(v segment.Encapsulation) {
	e.key("encapsulation")
	e.b = append(v.AppendTo(append(e.b, '"')), '"')
}
