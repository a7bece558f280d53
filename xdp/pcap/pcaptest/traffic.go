// Package pcaptest makes captures of TCP connections of which it is known how
// each of them closed: for tests, and for benchmarks of whole captures.
//
// Terms. A step is one segment of one connection, with its delay after the
// step before it. The steps of all connections are interleaved by their times,
// as on a wire that many connections share.
//
// A Traffic makes the same octets each time, whoever asks; nothing here keeps
// state, so every function may be called from any goroutine.
package pcaptest

import (
	"bufio"
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
)

// Traffic says what is to be on the wire. The zero value of a field stands for
// what its comment says.
type Traffic struct {
	Connections int
	// Rate is how many connections open in a second: 2,500.
	Rate int
	// Snap is how many octets of a frame are captured at most: all.
	Snap int
	// NG writes pcapng in place of pcap.
	NG   bool
	Seed uint64
}

// Made is what was written.
type Made struct {
	Packets   uint64
	Segments  uint64 // of the packets, those of TCP
	Octets    uint64 // of the packets on the wire, Ethernet headers included
	Closes    [Closes]uint64
	FileBytes int64 // octets written
}

// defaultRate lets 150,000 connections pass in a minute.
const defaultRate = 2500

// otherEvery is how many TCP segments there are to one packet of UDP.
const otherEvery = 100

// startAt is 2026-01-01 in ns since the epoch.
const startAt = 1_767_225_600_000_000_000

// Write writes a capture of Ethernet frames: connections over IPv4 and, three
// in ten, over IPv6, closed in every way that a record can name, of about 15
// segments each, a fifth of which carry 1,448 octets; and some UDP.
func (t Traffic) Write(w io.Writer) (Made, error) {
	buffered := bufio.NewWriterSize(w, 1<<20)
	m := &maker{
		random: rand.New(rand.NewPCG(t.Seed, 0)),
		writer: fileWriter{to: buffered, snap: t.Snap, ng: t.NG},
	}
	m.writer.header()
	rate := int64(t.Rate)
	if rate == 0 {
		rate = defaultRate
	}
	for n, at := 0, int64(startAt); n < t.Connections; n++ {
		m.play(at)
		heap.Push(&m.active, m.open(n, at))
		at += 1 + m.random.Int64N(2e9/rate)
	}
	m.play(1<<63 - 1)
	m.made.FileBytes = m.writer.written
	if err := buffered.Flush(); err != nil {
		return m.made, fmt.Errorf("writing a capture of %d connections: %w", t.Connections, err)
	}
	return m.made, nil
}

// maker interleaves connections.
type maker struct {
	random *rand.Rand
	active schedule
	writer fileWriter
	made   Made
}

// play writes every segment due before the time until.
func (m *maker) play(until int64) {
	for len(m.active) > 0 && m.active[0].at < until {
		c := m.active[0]
		m.writer.packet(c.at, c.frame(c.steps[0]))
		m.made.Packets++
		m.made.Segments++
		m.made.Octets += uint64(c.length(c.steps[0]))
		if m.made.Segments%otherEvery == 0 {
			frame := datagram()
			m.writer.packet(c.at, frame)
			m.made.Packets++
			m.made.Octets += uint64(len(frame))
		}
		if c.steps = c.steps[1:]; len(c.steps) == 0 {
			heap.Pop(&m.active)
			continue
		}
		c.at += c.steps[0].after
		heap.Fix(&m.active, 0)
	}
}

// schedule is a heap of connections by the time of their next step.
type schedule []*connection

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at < s[j].at }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(c any)        { *s = append(*s, c.(*connection)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	c := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return c
}
