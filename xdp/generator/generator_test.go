package generator

import (
	"context"
	"os"
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

func BenchmarkGenerator(b *testing.B) {
	_, g := open(b, Config{Window: 10000, DataSegments: 193, CPU: 1}, Discard)
	for b.Loop() {
		if _, err := g.Fill(context.Background(), 0); err != nil {
			b.Fatal(err)
		}
		r, err := g.Load(context.Background(), 0, 2*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%+v %.0f/s", r, r.Rate())
		for _, rate := range []float64{1000, 100_000, 500_000} {
			r, err = g.Load(context.Background(), rate, 2*time.Second)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("rate %.0f %+v %.0f/s", rate, r, r.Rate())
		}
		r, err = g.Drain(context.Background(), 0)
		b.Logf("%+v %.0f/s %v", r, r.Rate(), err)
		b.Logf("%+v", g.Counts())
	}
}
