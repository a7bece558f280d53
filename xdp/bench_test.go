package xdp

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/segment/segmenttest"
	"github.com/finwait/finwait/xdp/bpf"
)

// runRepeated lets the kernel time the program on one frame (BPF_PROG_RUN
// with repeat) and reports ns per frame as the benchmark's time.
func runRepeated(b *testing.B, p *ebpf.Program, f []byte) {
	b.Helper()
	total := time.Duration(0)
	for done := 0; done < b.N; {
		repeat := min(b.N-done, 1<<20)
		_, perRun, err := p.Benchmark(f, repeat, nil)
		if err != nil {
			b.Fatal(err)
		}
		total += perRun * time.Duration(repeat)
		done += repeat
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/frame")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkProgram times the tap program on a frame that ends in the kernel.
func BenchmarkProgram(b *testing.B) {
	b.Run("idle", func(b *testing.B) {
		needRoot(b)
		spec, err := bpf.LoadTap()
		if err != nil {
			b.Fatal(err)
		}
		var objects struct {
			Idle *ebpf.Program `ebpf:"finwait_idle"`
		}
		if err := spec.LoadAndAssign(&objects, nil); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = objects.Idle.Close() }()
		runRepeated(b, objects.Idle, client(ack, 1, 1, 1000).bytes())
	})
	for name, f := range map[string]frame{
		"data/ipv4":      client(ack, 1, 1, 1000),
		"data/ipv6":      {v6: true, flags: ack, seq: 1, ack: 1, payload: 1000},
		"data/ipv4/vlan": {tags: []uint16{5}, flags: ack, seq: 1, ack: 1, payload: 1000},
	} {
		b.Run(name, func(b *testing.B) {
			r := newRunner(b, 1000, programOptions{})
			r.run(f.bytes())
			b.ResetTimer()
			runRepeated(b, r.program.Tap, f.bytes())
		})
	}
	for _, c := range segmenttest.Cases() {
		switch c.Name {
		case "pppoe", "mpls", "ipip", "vxlan:5001", "gtpu:1", "qinq,mpls,vxlan:6,vlan":
		default:
			continue
		}
		b.Run("data/in/"+c.Name, func(b *testing.B) {
			r := newRunner(b, 1000, programOptions{})
			// Its FIN made a data segment: the flags stand before the window,
			// the checksum, the urgent pointer and 7 octets of payload.
			f := changed(c.Frame, len(c.Frame)-14, ack)
			if v := r.run(f); v.end != "passed" {
				b.Fatalf("the flow's first segment ended as %q", v.end)
			}
			b.ResetTimer()
			runRepeated(b, r.program.Tap, f)
		})
	}
	b.Run("not_tcp", func(b *testing.B) {
		r := newRunner(b, 1000, programOptions{})
		b.ResetTimer()
		runRepeated(b, r.program.Tap, changed(client(ack, 1, 1, 1000).bytes(), 23, 17))
	})
}

// BenchmarkAccounts times whole batches among a million flows.
func BenchmarkAccounts(b *testing.B) {
	needRoot(b)
	const flows = 1 << 20
	a, err := OpenAccounts(flows)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	keys := make([]segment.Key, flows)
	for i := range keys {
		keys[i] = segment.Key{LowPort: uint16(i), HighPort: uint16(i >> 16)}
	}
	fill := func(b *testing.B, keys []segment.Key) {
		b.Helper()
		if _, err := a.ipv6.BatchUpdate(keys, make([]segment.Counters, len(keys)), nil); err != nil {
			b.Fatal(err)
		}
	}
	fill(b, keys)
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	counters := make([]segment.Counters, accountsBatch)
	for name, call := range map[string]func([]segment.Key, []segment.Counters) error{"peek": a.Peek, "take": a.Take} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			next := 0
			for b.Loop() {
				batch := keys[next : next+accountsBatch]
				if err := call(batch, counters); err != nil {
					b.Fatal(err)
				}
				if next += accountsBatch; next == len(keys) {
					b.StopTimer()
					fill(b, keys)
					next = 0
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/accountsBatch, "ns/key")
			b.StopTimer()
			fill(b, keys)
		})
	}
}
