package lab

import "context"

// play runs a scenario once, on one connection or two.
type play func(ctx context.Context, s *stage) ([]Expectation, error)

// scenario is one way to open and close a connection.
type scenario struct {
	name string
	does string // one line for the reader of a report
	play play
	bulk bool // moves so much that only one is played at a time
}

// masqueradeScenarios are played through a gateway that masquerades, besides.
var masqueradeScenarios = []scenario{
	{name: "one_port", does: "two clients have one port, NAT gives one of them another", play: onePort},
}

// scenarios in the order in which reports list them.
var scenarios = []scenario{
	{name: "client_first", does: "client closes, server acknowledges, then closes", play: afterExchange(ClientParty, inOrder)},
	{name: "server_first", does: "server closes, client acknowledges, then closes", play: afterExchange(ServerParty, inOrder)},
	{name: "client_first_at_once", does: "client closes, server's FIN carries the ACK", play: afterExchange(ClientParty, atOnce)},
	{name: "server_first_at_once", does: "server closes, client's FIN carries the ACK", play: afterExchange(ServerParty, atOnce)},
	{name: "orphan", does: "client lets go of its socket, server closes later", play: afterExchange(ClientParty, orphan)},
	{name: "half_close", does: "client closes its half, server sends on, then closes", play: afterExchange(ClientParty, halfClose)},
	{name: "close_wait", does: "client closes, server sits in CLOSE-WAIT", play: afterExchange(ClientParty, closeWait)},
	{name: "bulk", does: "client sends megabytes, then closes", play: afterRequest(bulkOctets, ClientParty, inOrder), bulk: true},
	{name: "linger_client", does: "client resets by SO_LINGER 0", play: afterExchange(ClientParty, linger)},
	{name: "linger_server", does: "server resets by SO_LINGER 0", play: afterExchange(ServerParty, linger)},
	{name: "unread_client", does: "client closes with unread data", play: afterExchange(ClientParty, unread)},
	{name: "unread_server", does: "server closes with unread data", play: afterExchange(ServerParty, unread)},
	{name: "unread_after_fin", does: "client closes its half, then all with unread data", play: afterExchange(ClientParty, unreadAfterFIN)},
	{name: "data_after_close", does: "client closes all, server sends on and is reset", play: afterExchange(ClientParty, dataAfterClose)},
	{name: "refused", does: "client connects to a port nobody listens on", play: refused},
	{name: "unanswered", does: "client connects to an address that never answers", play: unanswered},
	{name: "time_wait_reuse", does: "client opens the tuple anew inside TIME-WAIT", play: timeWaitReuse},
	{name: "crossing_fins", does: "both FINs cross (crafted)", play: crossingFINs},
	{name: "sequence_wrap", does: "sequence numbers wrap at the FIN (crafted)", play: sequenceWrap},
	{name: "fin_retransmitted", does: "both FINs and data are sent again (crafted)", play: finRetransmitted},
	{name: "vlan", does: "behind one VLAN tag (crafted)", play: tagged("vlan", 100)},
	{name: "qinq", does: "behind two VLAN tags (crafted)", play: tagged("qinq", 200, 300)},
}
