package load

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Failure is why a connection did not come to the end that it was meant to
// have.
type Failure uint8

// The reasons. The last three are the generator's, not the target's.
const (
	Refused        Failure = iota // RST in answer to the SYN
	ConnectTimeout                // no SYN-ACK in time
	Reset                         // RST on an established connection
	Unreachable                   // ICMP, or no route
	EarlyClose                    // the target's FIN came before it should
	AnswerTimeout                 // not enough of an answer in time
	CloseTimeout                  // no FIN of the target in time
	Other                         // what else the kernel said; see Counts.OtherError
	NoLocalPort                   // every local port tried was in use or in TIME-WAIT
	NoSlot                        // Config.MaxConcurrent connections were open
	Interrupted                   // the run was ended from outside

	Failures = 11
)

func (f Failure) String() string {
	return [...]string{"refused", "connect_timeout", "reset", "unreachable", "early_close",
		"answer_timeout", "close_timeout", "other", "no_local_port", "no_slot", "interrupted"}[f]
}

// ours tells whether the generator is to blame.
func (f Failure) ours() bool { return f >= NoLocalPort }

// reasonOf tells why the kernel gave a connection up.
func reasonOf(err error) Failure {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return Refused
	case errors.Is(err, unix.ETIMEDOUT):
		return ConnectTimeout
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return Reset
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EHOSTDOWN):
		return Unreachable
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EADDRINUSE):
		return NoLocalPort
	}
	return Other
}
