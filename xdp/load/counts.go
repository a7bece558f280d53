package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Lags are kept from 1 µs to 1 minute, with 3 significant digits.
const (
	leastLag    = 1_000
	greatestLag = int64(time.Minute)
	lagDigits   = 3
)

// Counts is what the generator did in a step. Connections count by when they
// were due, rates by when something happened.
type Counts struct {
	Measured time.Duration // the measured time, as far as it was run

	// Connections that were due within the measured time. Offered is Closed,
	// all Failures and what was Missed together.
	Offered     uint64
	Missed      uint64 // never opened: the generator was late, or stopped
	Established uint64
	Closed      uint64 // torn down as they were meant to be
	Failures    [Failures]uint64
	OtherError  error // the first that is in Failures[Other]

	// What happened within the measured time.
	EstablishedThen uint64
	ClosedThen      uint64
	Peak            int64   // connections established at once
	Mean            float64 // of those, over the measured time

	// All of the step, warm-up included.
	Opened      uint64 // SYNs asked of the kernel
	AllFailures [Failures]uint64
	// Abandoned: the step was ended early, since every connection of the
	// last hopeless failed.
	Abandoned bool

	Lag *hdrhistogram.Histogram // ns from due to opened
}

// Failed sums the failures that are the target's.
func (c *Counts) Failed() uint64 {
	var n uint64
	for f := range Failure(Failures) {
		if !f.ours() {
			n += c.Failures[f]
		}
	}
	return n
}

// FailureRatio is the share of the opened connections that failed by the
// target; of those of a step that was abandoned before it was measured, all.
func (c *Counts) FailureRatio() float64 {
	if c.Abandoned && c.Offered == 0 {
		return 1
	}
	if ended := c.Closed + c.Failed(); ended > 0 {
		return float64(c.Failed()) / float64(ended)
	}
	return 0
}

// perSecond is a rate over the measured time.
func (c *Counts) perSecond(n uint64) float64 {
	if c.Measured <= 0 {
		return 0
	}
	return float64(n) / c.Measured.Seconds()
}

// OfferedRate is the connections per second that were due.
func (c *Counts) OfferedRate() float64 { return c.perSecond(c.Offered) }

// EstablishmentRate is the connections per second that were established in the
// measured time (RFC 3511 section 5.3).
func (c *Counts) EstablishmentRate() float64 { return c.perSecond(c.EstablishedThen) }

// TearDownRate is the connections per second that were torn down in the
// measured time (RFC 3511 section 5.4).
func (c *Counts) TearDownRate() float64 { return c.perSecond(c.ClosedThen) }

func newLag() *hdrhistogram.Histogram {
	return hdrhistogram.New(leastLag, greatestLag, lagDigits)
}

// add joins what another thread counted; the peak is not a sum.
func (c *Counts) add(o *Counts) {
	c.Offered += o.Offered
	c.Missed += o.Missed
	c.Established += o.Established
	c.Closed += o.Closed
	c.EstablishedThen += o.EstablishedThen
	c.ClosedThen += o.ClosedThen
	c.Mean += o.Mean
	c.Opened += o.Opened
	for f, n := range o.Failures {
		c.Failures[f] += n
		c.AllFailures[f] += o.AllFailures[f]
	}
	if c.OtherError == nil {
		c.OtherError = o.OtherError
	}
	c.Lag.Merge(o.Lag)
}
