package lab

import (
	"cmp"
	"slices"
)

// Life is what the kernel reported of one socket.
type Life struct {
	Cookie uint64
	Path   []SocketState // entered, in order
	AtNS   []int64       // CLOCK_MONOTONIC, of each

	gap bool // a change left another state than the one entered before it
}

// Whole tells whether every change of a socket that is gone was reported, from
// its first to CLOSED. Trace tells why one may not be.
func (l *Life) Whole() bool {
	return !l.gap && len(l.Path) > 0 && l.Path[len(l.Path)-1] == SocketClosed
}

// Entered returns when the socket first entered a state, and whether it did.
func (l *Life) Entered(s SocketState) (atNS int64, ok bool) {
	if i := slices.Index(l.Path, s); i >= 0 {
		return l.AtNS[i], true
	}
	return 0, false
}

// Truth is what the kernel reported of one connection: the lives of its two
// sockets. An end that had none (a refused connection's server) is empty.
type Truth struct {
	Tuple
	Client, Server Life
}

// Whole tells whether both lives are; an end that had no socket has none to tell.
func (t *Truth) Whole() bool {
	return t.Client.Whole() && (len(t.Server.Path) == 0 || t.Server.Whole())
}

// Wave is a time of a teardown as one of the sockets knows it.
type Wave struct {
	AtNS int64 // CLOCK_MONOTONIC
	Seen bool
}

// Waves are the four waves as the sockets know them, to be held against the
// record's fin1_at, ack1_at, fin2_at and ack2_at. A FIN's time is that of the
// state entered before it is sent, so the tap sees it later; an ACK's time is
// that of the state entered as it is processed at the end of its way, before
// or after the tap's copy is.
type Waves struct {
	Initiator Party // Nobody where neither end sent a FIN
	FIN1      Wave  // initiator enters FIN-WAIT-1
	CloseWait Wave  // the other enters CLOSE-WAIT
	ACK1      Wave  // initiator enters FIN-WAIT-2
	FIN2      Wave  // the other enters LAST-ACK, or FIN-WAIT-1 where they cross
	ACK2      Wave  // the other leaves LAST-ACK for CLOSED
	TimeWait  Wave  // initiator leaves FIN-WAIT-2 for CLOSED; see Trace for what that means
}

// Waves derives the four waves. What a reset cut short was not seen.
func (t *Truth) Waves() Waves {
	var w Waves
	first, second := &t.Client, &t.Server
	clientAt, byClient := first.Entered(SocketFINWait1)
	serverAt, byServer := second.Entered(SocketFINWait1)
	switch {
	case byClient && (!byServer || clientAt <= serverAt):
		w.Initiator = ClientParty
	case byServer:
		w.Initiator = ServerParty
		first, second = second, first
	default:
		return w
	}
	w.FIN1 = first.wave(SocketFINWait1)
	w.ACK1 = first.wave(SocketFINWait2)
	w.CloseWait = second.wave(SocketCloseWait)
	w.FIN2 = second.wave(SocketLastACK)
	if byClient && byServer {
		w.FIN2 = second.wave(SocketFINWait1)
	}
	w.ACK2 = second.after(SocketLastACK, SocketClosed)
	w.TimeWait = first.after(SocketFINWait2, SocketClosed)
	return w
}

func (l *Life) wave(s SocketState) Wave {
	at, ok := l.Entered(s)
	return Wave{at, ok}
}

// after is when the socket went from one state straight to another.
func (l *Life) after(from, to SocketState) Wave {
	for i := 1; i < len(l.Path); i++ {
		if l.Path[i-1] == from && l.Path[i] == to {
			return Wave{l.AtNS[i], true}
		}
	}
	return Wave{}
}

// Truths joins events to connections, in the order in which the client's
// sockets began. The sockets of a tuple that was used more than once are
// paired in the order in which they began.
func Truths(events []Event) []Truth {
	byCookie := map[uint64]*socket{}
	var sockets []*socket
	for _, e := range events {
		s := byCookie[e.Cookie]
		if s == nil {
			if e.Remote.Port() == 0 {
				continue // a listener
			}
			s = &socket{Life: Life{Cookie: e.Cookie}, tuple: e.tuple(), in: e.In}
			byCookie[e.Cookie] = s
			sockets = append(sockets, s)
		}
		s.gap = s.gap || e.Old != s.state()
		s.Path = append(s.Path, e.New)
		s.AtNS = append(s.AtNS, e.AtNS)
	}
	slices.SortStableFunc(sockets, func(a, b *socket) int { return cmp.Compare(a.AtNS[0], b.AtNS[0]) })
	var truths []Truth
	waiting := map[Tuple][]int{} // truths whose server's socket has not come yet
	for _, s := range sockets {
		if s.in == Client {
			waiting[s.tuple] = append(waiting[s.tuple], len(truths))
			truths = append(truths, Truth{Tuple: s.tuple, Client: s.Life})
		} else if open := waiting[s.tuple]; len(open) > 0 {
			truths[open[0]].Server = s.Life
			waiting[s.tuple] = open[1:]
		}
	}
	return truths
}

// socket is one whose life is being told.
type socket struct {
	Life
	tuple Tuple
	in    Namespace
}

// state is the one that the socket was last reported to be in, or before its
// first report must be in: the server's are made by a listener.
func (s *socket) state() SocketState {
	switch {
	case len(s.Path) > 0:
		return s.Path[len(s.Path)-1]
	case s.in == Server:
		return SocketListen
	}
	return SocketClosed
}

// tuple is the event's connection seen from the client.
func (e *Event) tuple() Tuple {
	client, server := e.Local, e.Remote
	if e.In == Server {
		client, server = server, client
	}
	return Tuple{ClientIP: client.Addr(), ClientPort: client.Port(), ServerIP: server.Addr(), ServerPort: server.Port()}
}
