package flowtable

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// drain throws records away.
type drain struct{ record Record }

func (d *drain) Next() *Record { return &d.record }
func (d *drain) Commit()       {}

func randomSegments(n int) []segment.Segment {
	f := rand.New(rand.NewPCG(5, 6))
	list := make([]segment.Segment, n)
	for i := range list {
		v := between(uint16(f.Uint32()), 443)
		v.client = address(byte(i>>24), byte(i>>16), byte(i>>8), byte(i))
		list[i] = *v.segment(step{0, c, fPA, 1, 1, 100})
	}
	return list
}

// BenchmarkUpdate follows segments of connections at random, in the batches
// that a worker takes, hashing included.
func BenchmarkUpdate(b *testing.B) {
	for _, connections := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			hasher := segment.NewHasher()
			table, err := New(Config{MaxFlows: uint32(connections), Timeouts: LiveTimeouts(), Records: &drain{}}, hasher)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = table.Close() }()
			list := randomSegments(connections)
			order := rand.New(rand.NewPCG(7, 8)).Perm(connections)
			var batch [updateBatch]*segment.Segment
			var hashes [updateBatch]uint64
			follow := func(from int) {
				for i := range batch {
					batch[i] = &list[order[(from+i)%connections]]
					key, _ := segment.KeyOf(batch[i])
					hashes[i] = hasher.Hash(&key)
				}
				table.Update(batch[:], hashes[:])
			}
			for i := 0; i < connections; i += updateBatch {
				follow(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				follow(i * updateBatch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*updateBatch), "ns/segment")
		})
	}
}

// BenchmarkGoMap looks the same connections up in a Go map and counts only.
func BenchmarkGoMap(b *testing.B) {
	for _, connections := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			list := randomSegments(connections)
			order := rand.New(rand.NewPCG(7, 8)).Perm(connections)
			flows := make(map[segment.Key]*connection, connections)
			for i := range list {
				key, _ := segment.KeyOf(&list[i])
				flows[key] = &connection{}
			}
			b.ResetTimer()
			for i := range b.N {
				for j := range updateBatch {
					s := &list[order[(i*updateBatch+j)%connections]]
					key, side := segment.KeyOf(s)
					c := flows[key]
					c.ends[side].packets++
					c.ends[side].octets += uint64(s.Octets)
					c.endAt = max(c.endAt, s.At)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*updateBatch), "ns/segment")
		})
	}
}

// BenchmarkConnection is a whole connection, from its SYN to its record.
func BenchmarkConnection(b *testing.B) {
	bench := newBench(b, Config{MaxFlows: 100_000, Timeouts: LiveTimeouts(), Records: &drain{}})
	const connections = 1000
	var list []segment.Segment
	for _, st := range finished {
		for port := range uint16(connections) {
			v := between(1000+port, 443)
			list = append(list, *v.segment(st))
		}
	}
	batch, hashes := bench.hashed(list)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		bench.Update(batch, hashes)
		bench.Advance(bench.Now() + int64(2*time.Second))
		for i := range list {
			list[i].At += int64(100 * time.Second)
			list[i].Seq += 7919
			list[i].Ack += 7919
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/segment")
	b.ReportMetric(float64(b.N*connections)/b.Elapsed().Seconds(), "connections/s")
}
