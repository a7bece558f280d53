package load

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseRates(t *testing.T) {
	for text, want := range map[string][]float64{
		"1000":         {1000},
		"0.5":          {0.5},
		"100,1k,2M":    {100, 1000, 2e6},
		"1k:3k:500":    {1000, 1500, 2000, 2500, 3000},
		"100:350:100":  {100, 200, 300},
		"1:1.3:0.1":    {1, 1.1, 1.2, 1.3},
		"1000..10000":  {1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000},
		"100..1k":      {100, 200, 300, 400, 500, 600, 700, 800, 900, 1000},
		"10000000":     {1e7},
		"1000:2000:5k": {1000},
	} {
		got, err := ParseRates(text)
		if err != nil || !slices.EqualFunc(got, want, func(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }) {
			t.Errorf("%q: %v (%v), expected %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fast", "0", "-1", "NaN", "Inf", "1,1", "2,1", "1:2", "1:2:0", "2:1:1", "1:2:3:4", "5..5", "..5", "1..", "1:100000:1", "11M", "1kk"} {
		if got, err := ParseRates(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v (%v)", text, got, err)
		}
	}
}

// limited is a step of 100 connections, each with times of i ms for i from 1
// to 100, of which two failed.
func limited() *Step {
	s := &Step{Wire: NewWire(), Counts: Counts{Offered: 100, EstablishedThen: 97, Closed: 98, Lag: newLag()}}
	s.Counts.Failures[Refused], s.Counts.AllFailures[Refused] = 2, 2
	for i := range 100 {
		for w := range Wave(Waves) {
			if w != CloseWait {
				s.Wire.Record(w, int64(i+1)*int64(time.Millisecond))
			}
		}
	}
	return s
}

func TestLimits(t *testing.T) {
	for text, want := range map[string]string{
		"p99=100ms":              "",
		"p99=98ms":               "p99=98ms: it was 99",
		"p50=51ms":               "",
		"p50=49ms":               "it was 50",
		"p99.9=99ms":             "it was 100",
		"max=101ms":              "",
		"max=99ms":               "it was 100",
		"teardown.max=99ms":      "it was 100",
		"fin_wait_1.p50=1ms":     "it was 50",
		"connect.p50=1ms":        "it was 50",
		"client_handshake.p1=2s": "",
		"close_wait.p99=1s":      "no close_wait was seen",
		"failures=2%":            "",
		"failures=1.9%":          "2% of the connections failed",
		"failures=0%":            "2% of the connections failed",
		"rate=97%":               "",
		"rate=98%":               "97% of the offered rate",
	} {
		l, err := ParseLimit(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := l.exceeded(limited())
		if want == "" && got != "" || !strings.Contains(got, want) || want != "" && !strings.HasPrefix(got, text) {
			t.Errorf("%q: %q, expected %q", text, got, want)
		}
	}
	for _, text := range []string{"", "p99", "p99=", "p99=5", "p99=0s", "p99=-1s", "p0=1s", "p101=1s", "pp=1s", "hello.p99=1s", "close_wait=1s",
		"close_wait.=1s", "failures=1", "failures=101%", "failures=-1%", "failures=NaN%", "rate=x%", "=1s"} {
		if _, err := ParseLimit(text); err == nil || !strings.Contains(err.Error(), "limit \""+text+"\"") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	strict, err := ParseLimit("failures=0%")
	if err != nil {
		t.Fatal(err)
	}
	lax, err := ParseLimit("failures=50%")
	if err != nil {
		t.Fatal(err)
	}
	brief, err := ParseLimit("p99=2ms")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(*Step)
		limit   Limit
		want    Verdict
		reasons []string
	}{
		"held":     {func(*Step) {}, lax, Held, nil},
		"exceeded": {func(*Step) {}, strict, Exceeded, []string{"failures=0%"}},
		"refused":  {func(s *Step) { s.Counts.Abandoned, s.Counts.Missed = true, 5 }, lax, Exceeded, []string{"every connection of the last 100 failed (refused)"}},
		"no port":  {func(s *Step) { s.Counts.Failures[NoLocalPort] = 1 }, lax, GeneratorBound, []string{"TIME-WAIT"}},
		"no slot":  {func(s *Step) { s.Counts.Failures[NoSlot] = 1 }, lax, GeneratorBound, []string{"allow more"}},
		"missed":   {func(s *Step) { s.Counts.Missed = 7 }, lax, GeneratorBound, []string{"did not open 7"}},
		"lost":     {func(s *Step) { s.Wire.Lost = 3 }, lax, GeneratorBound, []string{"3 frames"}},
		"late":     {func(s *Step) { _ = s.Counts.Lag.RecordValue(int64(time.Second)) }, lax, GeneratorBound, []string{"late"}},
		"late for the limit": {func(s *Step) { _ = s.Counts.Lag.RecordValue(int64(3 * time.Millisecond)) }, brief, GeneratorBound,
			[]string{"more than 2ms in which", "p99=2ms: it was"}},
		"in time for the limit": {func(s *Step) { _ = s.Counts.Lag.RecordValue(int64(time.Millisecond)) }, brief, Exceeded, []string{"p99=2ms: it was"}},
		"late, failed":          {func(s *Step) { s.Counts.Missed = 7 }, strict, GeneratorBound, []string{"did not open 7", "failures=0%"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := limited()
			c.change(s)
			s.judge(&Plan{Limits: []Limit{c.limit}, MaxLag: UsualLag})
			if s.Verdict != c.want || len(s.Reasons) != len(c.reasons) {
				t.Fatalf("%v: %q", s.Verdict, s.Reasons)
			}
			for i, want := range c.reasons {
				if !strings.Contains(s.Reasons[i], want) {
					t.Errorf("%q, expected %q", s.Reasons[i], want)
				}
			}
		})
	}
}

// blind sees nothing, and keeps what it was told.
type blind struct {
	calls   []string
	windows []Window
	fails   error
}

func (b *blind) Start() error { b.calls = append(b.calls, "start"); return nil }
func (b *blind) Measure(w Window) {
	b.calls = append(b.calls, "measure")
	b.windows = append(b.windows, w)
}
func (b *blind) Finish() (Wire, error) {
	b.calls = append(b.calls, "finish")
	return NewWire(), b.fails
}

// The search goes up until the target no longer bears the rate.
func TestSearchStopsAtTheLimit(t *testing.T) {
	s := newSite(t)
	limit, err := ParseLimit("failures=10%")
	if err != nil {
		t.Fatal(err)
	}
	// The backlog takes as many as the first two steps open, and no more.
	config := s.config(s.backlog(60))
	config.Close, config.Timeout = ByReset, 200*time.Millisecond
	g, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	plan := Plan{Rates: []float64{50, 100, 200, 400}, Duration: 300 * time.Millisecond, Limits: []Limit{limit}, MaxLag: time.Minute}
	observer, reported := &blind{}, 0
	steps, err := Search(t.Context(), g, plan, observer, func(*Step) { reported++ })
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []Verdict
	for _, step := range steps {
		verdicts = append(verdicts, step.Verdict)
		requireWhole(t, &step.Counts)
	}
	if !slices.Equal(verdicts, []Verdict{Held, Held, Exceeded}) || reported != 3 || Highest(steps).Rate != 100 {
		t.Errorf("verdicts %v, %d reported: %q", verdicts, reported, steps[len(steps)-1].Reasons)
	}
	if calls := strings.Join(observer.calls, " "); calls != strings.TrimSpace(strings.Repeat("start measure finish ", 3)) {
		t.Errorf("the observer was called: %s", calls)
	}
	observer.fails = errors.New("blind")
	if steps, err := Search(t.Context(), g, plan, observer, func(*Step) {}); !errors.Is(err, observer.fails) || len(steps) != 0 {
		t.Errorf("%v after %d steps", err, len(steps))
	}
}

func TestPlanRejects(t *testing.T) {
	teardown, err := ParseLimit("p99=1s")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{MaxConcurrent: 10, Hold: time.Second}
	for want, c := range map[string]struct {
		plan  Plan
		close Close
	}{
		"at least one rate":      {Plan{}, ByClient},
		"must ascend":            {Plan{Rates: []float64{2, 1}}, ByClient},
		"not one connection":     {Plan{Rates: []float64{0.5}, Duration: time.Second}, ByClient},
		"greatest lag 0s":        {Plan{Rates: []float64{1}, Duration: time.Second}, ByClient},
		"20 connections":         {Plan{Rates: []float64{1, 20}, Duration: time.Second, MaxLag: 1}, ByClient},
		"reset has no teardown;": {Plan{Rates: []float64{1}, Duration: time.Second, Limits: []Limit{teardown}}, ByReset},
	} {
		config.Close = c.close
		if err := c.plan.Validate(&config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, expected %q", c.plan, err, want)
		}
	}
}
