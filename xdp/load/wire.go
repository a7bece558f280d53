package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Wave is a time between two segments of one connection, named as in flow
// records.
type Wave uint8

// The waves.
const (
	ServerHandshake Wave = iota // SYN to SYN-ACK
	ClientHandshake             // SYN-ACK to ACK
	FINWait1                    // FIN1 to ACK1: network and the other host's kernel
	CloseWait                   // ACK1 to FIN2: the other side's application
	LastACK                     // FIN2 to ACK2: network and the initiator's kernel
	Teardown                    // FIN1 to ACK2, or to a RST after FIN1

	Waves = 6
)

func (w Wave) String() string {
	return [...]string{"server_handshake", "client_handshake", "fin_wait_1", "close_wait", "last_ack", "teardown"}[w]
}

// Times of waves are kept up to 10 minutes, with 3 significant
// digits.
const (
	greatestTime = int64(10 * time.Minute)
	timeDigits   = 3
)

// Wire is what was seen of a step's connections where they leave this machine.
type Wire struct {
	// Connections is all of the step; the rest is of those whose SYN lay in
	// the measured time.
	Connections uint64
	Measured    uint64
	Lost        uint64            // frames and records that this machine had no room for
	Retransmits uint64            // SYNs, SYN-ACKs and FINs that were repeated
	ByServer    uint64            // connections of which the target sent the first FIN
	Kinds       map[string]uint64 // by close_kind of the flow record
	Times       [Waves]*hdrhistogram.Histogram
}

// NewWire is a wire on which nothing has been seen.
func NewWire() Wire {
	w := Wire{Kinds: map[string]uint64{}}
	for i := range w.Times {
		w.Times[i] = hdrhistogram.New(1, greatestTime, timeDigits)
	}
	return w
}

// Record adds a time in ns.
func (w *Wire) Record(wave Wave, ns int64) {
	_ = w.Times[wave].RecordValue(min(max(ns, 0), greatestTime)) // in bounds
}

// Observer sees a step's connections. Its methods are called in turn for each
// step.
type Observer interface {
	// Start returns when nothing that is sent from then on is missed.
	Start() error
	// Measure says which connections are measured: those with a SYN in the
	// window.
	Measure(Window)
	// Finish waits for what is still to come, and ends what Start began. It
	// is called after every Start that succeeded.
	Finish() (Wire, error)
}
