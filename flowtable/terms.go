package flowtable

// State is a TCP state as RFC 9293 section 3.3.2 names it.
type State uint8

// The states an end is inferred to be in.
const (
	StateClosed State = iota
	StateSYNSent
	StateSYNReceived
	StateEstablished
	StateFINWait1
	StateFINWait2
	StateCloseWait
	StateClosing
	StateLastACK
	StateTimeWait

	States = 10
)

func (s State) String() string {
	return [...]string{"CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
		"FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"}[s]
}

// Party is one of the two ends, or none.
type Party uint8

// The parties.
const (
	Nobody Party = iota
	Client
	Server
)

func (p Party) String() string { return [...]string{"", "client", "server"}[p] }

// CloseKind is how a connection ended.
type CloseKind uint8

// The kinds, in the order in which the first that fits is taken.
const (
	Refused CloseKind = iota
	Reset
	Simultaneous
	ThreeWay
	FourWay
	HalfClosed
	Unanswered
	HalfOpen
	Open

	CloseKinds = 9
)

func (k CloseKind) String() string {
	return [...]string{"refused", "reset", "simultaneous", "three_way", "four_way",
		"half_closed", "unanswered", "half_open", "open"}[k]
}

// EndReason is why a record was written.
type EndReason uint8

// The reasons.
const (
	EndClosed EndReason = iota
	EndIdleTimeout
	EndActiveTimeout
	EndReused
	EndEvicted
	EndShutdown
	EndCaptureEnd
	// EndNone: the connection is still followed; this is a live view.
	EndNone

	EndReasons = 8
)

func (e EndReason) String() string {
	return [...]string{"closed", "idle_timeout", "active_timeout", "reused", "evicted",
		"shutdown", "capture_end", ""}[e]
}

// OrientedBy is how the client was told from the server.
type OrientedBy uint8

// The ways, best first.
const (
	BySYN OrientedBy = iota
	BySYNACK
	ByPort
	ByFirst
)

func (o OrientedBy) String() string {
	return [...]string{"syn", "syn_ack", "port", "first"}[o]
}

// Evidence is how much of the connection was seen.
type Evidence uint8

// The grades of evidence.
const (
	Full Evidence = iota
	Midstream
	OneSided
	Lossy
)

func (e Evidence) String() string {
	return [...]string{"full", "midstream", "one_sided", "lossy"}[e]
}

// Accounting is where packets and octets come from.
type Accounting uint8

// The ways to account.
const (
	AccountingCounted Accounting = iota
	AccountingSequence
)

func (a Accounting) String() string { return [...]string{"counted", "sequence"}[a] }
