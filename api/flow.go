package api

import "github.com/finwait/finwait/flowtable"

// Flow is the JSON form of a flowtable.Record. A pointer that is nil is null:
// the event was not seen, or the number is not known. Times are RFC 3339 in UTC
// with nine decimals, durations ns, sizes octets.
type Flow struct {
	FlowID        string `json:"flow_id" doc:"Unique per record, also across restarts; 26 characters of 0-9 and a-v"`
	ClientIP      string `json:"client_ip" doc:"The client is the sender of the first SYN without ACK"`
	ClientPort    uint16 `json:"client_port"`
	ServerIP      string `json:"server_ip"`
	ServerPort    uint16 `json:"server_port"`
	OrientedBy    string `json:"oriented_by" enum:"syn,syn_ack,port,first" doc:"How the client was told from the server"`
	VLANID        uint16 `json:"vlan_id" doc:"Outermost VLAN identifier, 0 for none"`
	Encapsulation string `json:"encapsulation" doc:"What was stripped, outermost first; empty for none"`
	Interface     string `json:"interface" doc:"Where it was seen; a file's name when replayed"`
	Evidence      string `json:"evidence" enum:"full,midstream,one_sided,lossy" doc:"How much of the connection was seen"`

	StartAt            string  `json:"start_at" format:"date-time" doc:"First segment"`
	EndAt              string  `json:"end_at" format:"date-time" doc:"Last segment"`
	ClientPackets      *uint64 `json:"client_packets" doc:"TCP segments sent, retransmissions included; null where accounting is sequence"`
	ServerPackets      *uint64 `json:"server_packets" doc:"TCP segments sent, retransmissions included; null where accounting is sequence"`
	ClientBytes        *uint64 `json:"client_bytes" doc:"IP octets sent, header and payload; null where accounting is sequence"`
	ServerBytes        *uint64 `json:"server_bytes" doc:"IP octets sent, header and payload; null where accounting is sequence"`
	ClientPayloadBytes uint64  `json:"client_payload_bytes" doc:"Octets of TCP payload that moved the sequence space forward"`
	ServerPayloadBytes uint64  `json:"server_payload_bytes" doc:"Octets of TCP payload that moved the sequence space forward"`
	ClientTCPFlags     uint16  `json:"client_tcp_flags" maximum:"255" doc:"OR of all flag octets"`
	ServerTCPFlags     uint16  `json:"server_tcp_flags" maximum:"255" doc:"OR of all flag octets"`
	Accounting         string  `json:"accounting" enum:"counted,sequence" doc:"Where packets and octets come from"`

	SYNAt                   *string `json:"syn_at" format:"date-time" doc:"First SYN of the client"`
	SYNACKAt                *string `json:"syn_ack_at" format:"date-time" doc:"First SYN-ACK of the server"`
	EstablishedAt           *string `json:"established_at" format:"date-time" doc:"First later segment of the client whose ACK covers the server's ISN + 1"`
	ClientSYNRetransmits    uint16  `json:"client_syn_retransmits"`
	ServerSYNACKRetransmits uint16  `json:"server_syn_ack_retransmits"`
	ServerHandshakeNS       *int64  `json:"server_handshake_ns" doc:"syn_ack - syn"`
	ClientHandshakeNS       *int64  `json:"client_handshake_ns" doc:"established - syn_ack"`

	FIN1At                *string `json:"fin1_at" format:"date-time" doc:"First transmission of the first FIN, sent by the initiator"`
	ACK1At                *string `json:"ack1_at" format:"date-time" doc:"First segment of the other side whose ACK covers FIN1's end"`
	FIN2At                *string `json:"fin2_at" format:"date-time" doc:"First transmission of the other side's FIN"`
	ACK2At                *string `json:"ack2_at" format:"date-time" doc:"First segment of the initiator whose ACK covers FIN2's end"`
	RSTAt                 *string `json:"rst_at" format:"date-time" doc:"First RST"`
	RSTBy                 string  `json:"rst_by" enum:",client,server" doc:"Sender of the first RST; empty where there was none"`
	FINWait1NS            *int64  `json:"fin_wait_1_ns" doc:"ack1 - fin1: network and the other host's kernel"`
	CloseWaitNS           *int64  `json:"close_wait_ns" doc:"fin2 - ack1: the other side's application"`
	LastACKNS             *int64  `json:"last_ack_ns" doc:"ack2 - fin2: network and the initiator's kernel"`
	TeardownNS            *int64  `json:"teardown_ns" doc:"ack2 - fin1, or rst - fin1 for a reset after FIN1"`
	HalfClosePayloadBytes *uint64 `json:"half_close_payload_bytes" doc:"Payload sent by the other side after FIN1; null without a FIN"`
	ClientFINRetransmits  uint16  `json:"client_fin_retransmits"`
	ServerFINRetransmits  uint16  `json:"server_fin_retransmits"`
	ReuseAfterNS          *int64  `json:"reuse_after_ns" doc:"This SYN minus the close of the tuple's last connection"`
	ClientState           string  `json:"client_state" enum:"CLOSED,SYN-SENT,SYN-RECEIVED,ESTABLISHED,FIN-WAIT-1,FIN-WAIT-2,CLOSE-WAIT,CLOSING,LAST-ACK,TIME-WAIT" doc:"RFC 9293 state inferred"`
	ServerState           string  `json:"server_state" enum:"CLOSED,SYN-SENT,SYN-RECEIVED,ESTABLISHED,FIN-WAIT-1,FIN-WAIT-2,CLOSE-WAIT,CLOSING,LAST-ACK,TIME-WAIT" doc:"RFC 9293 state inferred"`

	CloseInitiator string `json:"close_initiator" enum:",client,server" doc:"Sender of FIN1; without a FIN, of the RST; else empty"`
	CloseKind      string `json:"close_kind" enum:"refused,reset,simultaneous,three_way,four_way,half_closed,unanswered,half_open,open" doc:"How the connection ended"`
	CloseComplete  bool   `json:"close_complete" doc:"Both FINs were acknowledged, or a RST ended it"`
	EndReason      string `json:"end_reason" enum:"closed,idle_timeout,active_timeout,reused,evicted,shutdown,capture_end," doc:"Why the record was written; empty while the connection is followed"`
	Slice          uint32 `json:"slice" doc:"Counts up from 0 over the slices of a long connection"`

	InterfaceFaces  string  `json:"interface_faces" enum:",client,server" doc:"Whose segments come in at this interface of a gateway; empty where that is not known"`
	PeerFlowID      *string `json:"peer_flow_id" doc:"Record of the same connection on the other side of a gateway; null where there is none"`
	NATClientIP     *string `json:"nat_client_ip" doc:"The connection's tuple on the other side of a gateway that rewrites it; null where it does not, or that is not known"`
	NATClientPort   *uint16 `json:"nat_client_port"`
	NATServerIP     *string `json:"nat_server_ip"`
	NATServerPort   *uint16 `json:"nat_server_port"`
	SYNTransitNS    *int64  `json:"syn_transit_ns" doc:"How long a gateway took to pass the SYN on: when it left less when it came in"`
	SYNACKTransitNS *int64  `json:"syn_ack_transit_ns" doc:"The same of the SYN-ACK"`
	FIN1TransitNS   *int64  `json:"fin1_transit_ns" doc:"The same of FIN1"`
	ACK1TransitNS   *int64  `json:"ack1_transit_ns" doc:"The same of FIN1's acknowledgement; null where FIN1 was sent again"`
	FIN2TransitNS   *int64  `json:"fin2_transit_ns" doc:"The same of FIN2"`
	ACK2TransitNS   *int64  `json:"ack2_transit_ns" doc:"The same of FIN2's acknowledgement; null where FIN2 was sent again"`
	RSTTransitNS    *int64  `json:"rst_transit_ns" doc:"The same of the first RST"`

	ClientProcess *string `json:"client_process,omitempty" doc:"Control group (cgroup v2) of the client's socket, where that is of this machine; absent where it is not, or nobody asked for owners"`
	ServerProcess *string `json:"server_process,omitempty" doc:"The same of the server's socket"`
}

// NewFlow returns the JSON form of a record.
func NewFlow(r *flowtable.Record, n *Names) Flow {
	f := Flow{
		FlowID:        n.FlowID(r.Serial),
		ClientIP:      Address(&r.Client.Address).String(),
		ClientPort:    r.Client.Port,
		ServerIP:      Address(&r.Server.Address).String(),
		ServerPort:    r.Server.Port,
		OrientedBy:    r.OrientedBy.String(),
		VLANID:        r.VLAN,
		Encapsulation: r.Encapsulation.String(),
		Interface:     n.Interface(r.Interface),
		Evidence:      r.Evidence.String(),

		StartAt:            n.Time(r.StartAt),
		EndAt:              n.Time(r.EndAt),
		ClientPayloadBytes: r.Client.Payload,
		ServerPayloadBytes: r.Server.Payload,
		ClientTCPFlags:     uint16(r.Client.TCPFlags),
		ServerTCPFlags:     uint16(r.Server.TCPFlags),
		Accounting:         r.Accounting.String(),

		ClientSYNRetransmits:    r.Client.SYNRetransmits,
		ServerSYNACKRetransmits: r.Server.SYNRetransmits,
		ServerHandshakeNS:       known(r.Between(flowtable.SYNAt, flowtable.SYNACKAt)),
		ClientHandshakeNS:       known(r.Between(flowtable.SYNACKAt, flowtable.EstablishedAt)),

		RSTBy:                 r.RSTBy.String(),
		FINWait1NS:            known(r.Phase(flowtable.FINWait1)),
		CloseWaitNS:           known(r.Phase(flowtable.CloseWait)),
		LastACKNS:             known(r.Phase(flowtable.LastACK)),
		TeardownNS:            known(r.Phase(flowtable.Teardown)),
		HalfClosePayloadBytes: known(halfClosePayload(r)),
		ClientFINRetransmits:  r.Client.FINRetransmits,
		ServerFINRetransmits:  r.Server.FINRetransmits,
		ReuseAfterNS:          known(r.ReuseAfter, r.Reused),
		ClientState:           r.Client.State.String(),
		ServerState:           r.Server.State.String(),

		CloseInitiator: r.Initiator.String(),
		CloseKind:      r.CloseKind.String(),
		CloseComplete:  r.Complete,
		EndReason:      r.EndReason.String(),
		Slice:          r.Slice,
	}
	f.setTimes(r, n)
	f.setOtherSide(r, n)
	f.ClientProcess, f.ServerProcess = owner(&r.Client, n), owner(&r.Server, n)
	if r.Accounting == flowtable.AccountingCounted {
		f.ClientPackets, f.ServerPackets = known(r.Client.Packets, true), known(r.Server.Packets, true)
		f.ClientBytes, f.ServerBytes = known(r.Client.Octets, true), known(r.Server.Octets, true)
	}
	return f
}

func (f *Flow) setTimes(r *flowtable.Record, n *Names) {
	fields := [flowtable.Moments]**string{
		flowtable.SYNAt: &f.SYNAt, flowtable.SYNACKAt: &f.SYNACKAt, flowtable.EstablishedAt: &f.EstablishedAt,
		flowtable.FIN1At: &f.FIN1At, flowtable.ACK1At: &f.ACK1At, flowtable.FIN2At: &f.FIN2At,
		flowtable.ACK2At: &f.ACK2At, flowtable.RSTAt: &f.RSTAt,
	}
	for m, field := range fields {
		if at, seen := r.Time(flowtable.Moment(m)); seen {
			*field = known(n.Time(at), true)
		}
	}
}

// halfClosePayload is known only where there was a FIN to come after.
func halfClosePayload(r *flowtable.Record) (uint64, bool) {
	_, seen := r.Time(flowtable.FIN1At)
	return r.HalfClosePayload, seen
}

func known[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}
