package generator

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatal("needs root")
	}
	tb.Skip("needs root")
}

// open makes a generator on a wire of its own, of which the other end is made by
// receive.
func open(tb testing.TB, c Config, receive func(string) (*Receiver, error)) (*Wire, *Generator) {
	tb.Helper()
	needRoot(tb)
	wire, err := NewWire()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := wire.Close(); err != nil {
			tb.Error(err)
		}
	})
	err = wire.AtReceiver(func() error {
		r, err := receive(ReceiveInterface)
		if err == nil {
			tb.Cleanup(func() { _ = r.Close() })
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	c.Interface = TransmitInterface
	var g *Generator
	err = wire.AtTransmitter(func() (err error) {
		g, err = Open(c)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := g.Close(); err != nil {
			tb.Error(err)
		}
	})
	return wire, g
}

// BenchmarkGenerator is the full rate into a program that drops everything.
func BenchmarkGenerator(b *testing.B) {
	_, g := open(b, Config{Window: 10_000, DataSegments: 193, CPU: -1}, Discard)
	if _, err := g.Fill(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	var sent uint64
	for b.Loop() {
		r, err := g.Load(b.Context(), 0, 100*time.Millisecond)
		if err != nil {
			b.Fatal(err)
		}
		sent += r.Counts.Sent
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/frame")
}

// TestOpenRefuses what cannot be made, and says what could.
func TestOpenRefuses(t *testing.T) {
	for want, c := range map[string]Config{
		"no interface":                 {Window: 1},
		"0 connections at once":        {Interface: "a0"},
		"2 connections in all":         {Interface: "a0", Window: 3, Connections: 2},
		"-1 data segments":             {Interface: "a0", Window: 1, DataSegments: -1},
		"frames of 59 octets":          {Interface: "a0", Window: 1, FrameLength: 59},
		"frames of 74 octets":          {Interface: "a0", Window: 1, FrameLength: 74, IPv6: true},
		"choose 60 to 3000":            {Interface: "a0", Window: 1, FrameLength: 3001},
		"destination address":          {Interface: "a0", Window: 1, Destination: []byte{1}},
		"closer 3":                     {Interface: "a0", Window: 1, Closer: 3},
		"a pulse of 1m0s":              {Interface: "a0", Window: 1, Pulse: time.Minute},
		"ip link lists those that the": {Interface: "missing0", Window: 1},
	} {
		g, err := Open(c)
		if err == nil {
			t.Errorf("%+v was taken: %v", c, g.Close())
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, expected %q", c, err, want)
		}
	}
}

// TestDataSegments: the share of control segments that is asked for is the one
// that comes.
func TestDataSegments(t *testing.T) {
	for share, want := range map[float64]int{0.02: 193, 0.1: 33, 0.5: 1, 4.0 / 7: 0, 0.0001: 39993} {
		if got, err := DataSegments(share); err != nil || got != want {
			t.Errorf("%g: %d data segments, %v; expected %d", share, got, err, want)
		}
	}
	for _, share := range []float64{0, -1, 0.6, 1.5, math.NaN(), 1e-12} {
		if got, err := DataSegments(share); err == nil {
			t.Errorf("%g: %d data segments", share, got)
		}
	}
}

// TestRate: a run keeps to its rate, give or take what this machine's other work
// takes from it, and never goes beyond; and it ends when it is told to.
func TestRate(t *testing.T) {
	_, g := open(t, Config{Window: 100, DataSegments: 50, CPU: -1}, Discard)
	if _, err := g.Load(t.Context(), 1000, time.Second); err == nil {
		t.Error("a window that was not filled was loaded")
	}
	if _, err := g.Fill(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Fill(t.Context(), 0); err == nil {
		t.Error("a window was filled twice")
	}
	r, err := g.Load(t.Context(), 20_000, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if most := 20_000*r.Took.Seconds() + 1; float64(r.Counts.Made) > most || r.Counts.Made == 0 || r.CPU <= 0 {
		t.Errorf("%+v: more than %.0f frames, or nothing", r, most)
	}
	if _, err := g.Plan(); err == nil {
		t.Error("there is a plan while connections are open")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := g.Load(ctx, 0, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run that was stopped: %v", err)
	}
	if _, err := g.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	// At full speed the other end's ring may be full while its processor is busy.
	if c := g.Counts(); c.Opened != c.Closed || c.Unsent() != 0 || c.Opened == 0 {
		t.Errorf("%+v", c)
	}
}

// TestRefused: frames that the driver does not take are counted apart. A veth
// takes none while its other end has no program.
func TestRefused(t *testing.T) {
	var receiver *Receiver
	_, g := open(t, Config{Window: 10, DataSegments: 5, CPU: -1}, func(name string) (r *Receiver, err error) {
		receiver, err = Discard(name)
		return receiver, err
	})
	if _, err := g.Fill(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := receiver.Close(); err != nil {
		t.Fatal(err)
	}
	before := g.Counts()
	if _, err := g.Load(t.Context(), 5000, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if c := g.Counts().Since(before); c.Made == 0 || c.Sent != 0 || c.Refused+c.Unsent() != c.Made {
		t.Errorf("nobody was there to receive, and %+v", c)
	}
}
