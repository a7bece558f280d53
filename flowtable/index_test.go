package flowtable

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
)

// hashing is a hasher of one's own making.
type hashing func(*segment.Key) uint64

func (h hashing) Hash(k *segment.Key) uint64 { return h(k) }

func (h hashing) Hashes(keys []segment.Key, hashes []uint64) {
	for i := range keys {
		hashes[i] = h(&keys[i])
	}
}

func keyNumber(n int) (key segment.Key) {
	binary.BigEndian.PutUint64(key.High[8:], uint64(n)+1)
	return key
}

// occupy puts a key into a slot, without a connection.
func (b *bench) occupy(slot uint32, key *segment.Key) {
	c := connection{key: *key}
	b.hot[slot].setKey(key)
	c.store(&b.hot[slot], &b.cold[slot], 0, allParts)
}

// TestIndex enters, finds and removes beside a Go map, under hashes that
// collide in buckets, in tags and altogether.
func TestIndex(t *testing.T) {
	number := func(k *segment.Key) uint64 { return binary.BigEndian.Uint64(k.High[8:]) }
	for name, hash := range map[string]hashing{
		"good":              func(k *segment.Key) uint64 { return number(k) * 0x9e3779b97f4a7c15 },
		"one hash":          func(*segment.Key) uint64 { return 1<<63 | 5 },
		"last bucket":       func(k *segment.Key) uint64 { return ^uint64(0)>>8 | number(k)<<56 },
		"few buckets":       func(k *segment.Key) uint64 { return number(k)<<56 | number(k)%3 },
		"few tags":          func(k *segment.Key) uint64 { return number(k)%2<<56 | number(k)%7 },
		"tags one apart":    func(k *segment.Key) uint64 { return number(k)%256<<56 | 1 },
		"the lower half":    func(k *segment.Key) uint64 { return number(k) % 8 },
		"neighbours, 1 tag": func(k *segment.Key) uint64 { return 3<<56 | number(k)%2 },
	} {
		t.Run(name, func(t *testing.T) {
			const flows = 300
			b := newBench(t, Config{MaxFlows: flows})
			b.hashes = hash
			f := rand.New(rand.NewPCG(3, uint64(len(name))))
			known := map[segment.Key]uint32{}
			var free []uint32
			for slot := uint32(1); slot <= flows; slot++ {
				free = append(free, slot)
			}
			for range 20000 {
				key := keyNumber(f.IntN(400))
				h := hash(&key)
				want := known[key]
				if got := b.find(h, &key); got != want {
					t.Fatalf("key leads to slot %d, not %d", got, want)
				}
				switch {
				case want != 0 && f.IntN(2) == 0:
					b.index.remove(h, want)
					b.hot[want].last = 0
					delete(known, key)
					free = append(free, want)
				case want == 0 && len(free) > 0:
					slot := free[len(free)-1]
					free = free[:len(free)-1]
					b.occupy(slot, &key)
					b.index.insert(h, slot)
					known[key] = slot
				}
			}
			for key, slot := range known {
				if b.find(hash(&key), &key) != slot {
					t.Fatal("a key is lost")
				}
				b.index.remove(hash(&key), slot)
				b.hot[slot].last = 0
			}
			if err := b.checkIndex(0); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPlaces: every entry of a bucket keeps any slot, and leaves the others alone.
func TestPlaces(t *testing.T) {
	const guard = 0xa5
	var around struct {
		b      bucket
		behind [8]uint8
	}
	for i := range around.behind {
		around.behind[i] = guard
	}
	b, want := &around.b, [bucketEntries]uint32{}
	b.overflow = 0x1234
	f := rand.New(rand.NewPCG(8, 9))
	for range 100_000 {
		i, slot := f.UintN(bucketEntries), f.Uint32()&slotMask
		if f.IntN(3) == 0 {
			slot = slotMask
		}
		b.setSlot(i, slot)
		want[i] = slot
		for i, slot := range want {
			if got := b.slot(uint(i)); got != slot {
				t.Fatalf("entry %d has slot %#x, not %#x", i, got, slot)
			}
		}
	}
	if b.tags != [bucketEntries]uint8{} || b.overflow != 0x1234 || around.behind != [8]uint8{guard, guard, guard, guard, guard, guard, guard, guard} {
		t.Errorf("what is around the slots changed: %+v", around)
	}
}

// TestManyOverflows: more connections than an overflow count can count belong into one
// bucket. They are all found, also by what is left once most are gone.
func TestManyOverflows(t *testing.T) {
	const n = 70_000
	x := index{make([]bucket, indexBuckets(n))}
	for slot := range uint32(n) {
		x.insert(42, slot+1)
	}
	if got := x.buckets[0].overflow; got != manyOverflows {
		t.Errorf("%d overflowed", got)
	}
	for slot := range uint32(n) {
		x.remove(42, slot+1)
	}
	for i := range x.buckets {
		if b := &x.buckets[i]; b.tags != [bucketEntries]uint8{} || b.slots != [6]uint64{} {
			t.Fatalf("bucket %d is not empty: %+v", i, b)
		}
	}
	x.insert(42, 7)
	x.remove(42, 7)
}

// TestCollidingConnections: connections whose hashes are all the same are
// still apart, and what is remembered of them is too.
func TestCollidingConnections(t *testing.T) {
	b := newBench(t, Config{MaxFlows: 100, Timeouts: ReplayTimeouts()})
	b.hashes = hashing(func(*segment.Key) uint64 { return 42 })
	for _, st := range finished[:7] {
		for port := range uint16(100) {
			v := between(1000+port, 443)
			g := v.segment(st)
			b.Update([]*segment.Segment{g}, []uint64{42})
			b.check()
		}
	}
	b.Flush(EndShutdown)
	b.check()
	if len(b.records) != 100 {
		t.Fatalf("%d records", len(b.records))
	}
	for i := range b.records {
		b.same("record", story(&b.records[i]), "three_way client FIN-WAIT-2/LAST-ACK syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6")
	}
}

func TestMatches(t *testing.T) {
	for x := range uint64(1 << 16) {
		m := matches(x | 0x1111111111110000)
		for i := range 2 {
			octet := x >> (8 * i) & 0xff
			if marked := m>>(8*i+7)&1 == 1; octet == 0 && !marked {
				t.Fatalf("%#x: octet %d is zero and not found", x, i)
			}
		}
		if x&0xff != 0 && m&0x80 != 0 {
			t.Fatalf("%#x: the lowest octet is found and not zero", x)
		}
	}
}
