package api

// Connections is what is followed now.
type Connections struct {
	Connections []Connection `json:"connections" nullable:"false" doc:"In the order asked for; the oldest first without one"`
	Total       uint64       `json:"total" doc:"Connections that fit the filters, also those beyond the limit"`
	Followed    uint64       `json:"followed" doc:"Connections that were looked at: all that are followed, or those with a FIN where others cannot fit"`
	States      []StateCount `json:"states" nullable:"false" doc:"Of those that fit, by the states of their ends; states that nobody is in are left out"`
}

// Connection is a connection that is followed: a Flow whose end_reason is
// empty, and how long things have lasted so far.
type Connection struct {
	Flow
	AgeNS   int64  `json:"age_ns" doc:"Since the first segment"`
	IdleNS  int64  `json:"idle_ns" doc:"Since the last segment"`
	Phase   string `json:"phase" enum:",fin_wait_1,close_wait,last_ack" doc:"Which wait of the teardown is under way; empty before the first FIN, after the last ACK and after a RST"`
	PhaseNS *int64 `json:"phase_ns" doc:"How long it has lasted; null where none is under way"`
}

// StateCount is how many ends are in a state.
type StateCount struct {
	State  string `json:"state" enum:"CLOSED,SYN-SENT,SYN-RECEIVED,ESTABLISHED,FIN-WAIT-1,FIN-WAIT-2,CLOSE-WAIT,CLOSING,LAST-ACK,TIME-WAIT" doc:"RFC 9293 state"`
	Client uint64 `json:"client" doc:"Connections whose client is in it"`
	Server uint64 `json:"server" doc:"Connections whose server is in it"`
}
