package load

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limit is what a step must keep to. Exactly one of its two parts is set.
type Limit struct {
	text string
	// A percentile of a wave must not be more than time.
	wave       Wave
	percentile float64 // 100 for the greatest
	time       time.Duration
	// A share of all connections.
	share shareOf
	ratio float64
}

type shareOf uint8

const (
	noShare  shareOf = iota
	failures         // that failed must not be more than ratio
	rate             // that were established in the measured time, of those offered in it, must not be less
)

func (l Limit) String() string { return l.text }

// ParseLimit reads failures=PERCENT, rate=PERCENT, or [WAVE.]pNN=DURATION,
// [WAVE.]max=DURATION with a wave of flow records, or connect for
// server_handshake. Without a wave it is the teardown's.
func ParseLimit(text string) (Limit, error) {
	l := Limit{text: text}
	wrong := func(why string) (Limit, error) {
		return Limit{}, fmt.Errorf("limit %q: %s; write, for example, p99=50ms, connect.p95=10ms, close_wait.max=1s, failures=0.1%% or rate=95%%", text, why)
	}
	what, bound, found := strings.Cut(text, "=")
	if !found {
		return wrong("it has no =")
	}
	if what == "failures" || what == "rate" {
		if l.share = failures; what == "rate" {
			l.share = rate
		}
		number, isPercent := strings.CutSuffix(bound, "%")
		value, err := strconv.ParseFloat(number, 64)
		if err != nil || !isPercent || !(value >= 0 && value <= 100) {
			return wrong("a percentage from 0% to 100% is needed")
		}
		l.ratio = value / 100
		return l, nil
	}
	var ok bool
	if l.percentile, ok = parsePercentile(what); ok {
		l.wave = Teardown
	} else {
		name, point, _ := strings.Cut(what, ".")
		if l.wave, ok = waveOf(name); !ok {
			return wrong(fmt.Sprintf("%q is neither a wave nor a percentile", name))
		}
		if l.percentile, ok = parsePercentile(point); !ok {
			return wrong(fmt.Sprintf("%q is no percentile", point))
		}
	}
	var err error
	if l.time, err = time.ParseDuration(bound); err != nil || l.time <= 0 {
		return wrong("a duration of more than 0 is needed")
	}
	return l, nil
}

func waveOf(name string) (Wave, bool) {
	if name == "connect" {
		return ServerHandshake, true
	}
	for w := range Wave(Waves) {
		if w.String() == name {
			return w, true
		}
	}
	return 0, false
}

// parsePercentile reads p50, p99.9 or max.
func parsePercentile(text string) (float64, bool) {
	if text == "max" {
		return 100, true
	}
	number, found := strings.CutPrefix(text, "p")
	value, err := strconv.ParseFloat(number, 64)
	return value, found && err == nil && value > 0 && value <= 100
}

// appliesTo tells whether connections that are closed in a way can be judged
// by the limit: those that are reset have no FIN.
func (l Limit) appliesTo(c Close) bool {
	return l.share != noShare || c != ByReset || l.wave == ServerHandshake || l.wave == ClientHandshake
}

// exceeded says how a step passes the limit, and nothing where it keeps to it.
func (l Limit) exceeded(s *Step) string {
	switch l.share {
	case failures:
		if ratio := s.Counts.FailureRatio(); ratio > l.ratio {
			return fmt.Sprintf("%s: %.4g%% of the connections failed", l, 100*ratio)
		}
		return ""
	case rate:
		if s.Counts.Offered == 0 {
			return ""
		}
		if ratio := float64(s.Counts.EstablishedThen) / float64(s.Counts.Offered); ratio < l.ratio {
			return fmt.Sprintf("%s: %.4g%% of the offered rate was established", l, 100*ratio)
		}
		return ""
	}
	times := s.Wire.Times[l.wave]
	if times.TotalCount() == 0 {
		return fmt.Sprintf("%s: no %v was seen to its end", l, l.wave)
	}
	if got := time.Duration(times.ValueAtQuantile(l.percentile)); got > l.time {
		return fmt.Sprintf("%s: it was %v", l, got)
	}
	return ""
}
