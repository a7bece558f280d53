package query

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

func TestPrefixAgainstNetip(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	random := func() netip.Addr {
		var a [16]byte
		if rng.IntN(2) == 0 {
			// Few distinct bits, so that prefixes match now and then.
			return netip.AddrFrom4([4]byte{10, byte(rng.UintN(2)), byte(rng.UintN(2)) << 7, byte(rng.UintN(4))})
		}
		a[0], a[7], a[8], a[15] = 0x20*byte(rng.UintN(2)), byte(rng.UintN(2)), 0x80*byte(rng.UintN(2)), byte(rng.UintN(4))
		return netip.AddrFrom16(a)
	}
	matched := 0
	in := frame{block: new(history.Block)}
	for range 200_000 {
		base, a := random(), random()
		p := netip.PrefixFrom(base, rng.IntN(base.BitLen()+1))
		in.block.Set(0, &flowtable.Record{Client: flowtable.Side{Address: a.As16()}}, 0)
		want := p.Contains(a.Unmap())
		for _, in.summary = range []*history.Summary{nil, {ClientIPv4: a.Is4()}} {
			if got := len(prefixes{newPrefix(p)}.keep(&in, clientSide, []uint16{0})) == 1; got != want {
				t.Fatalf("%v in %v: %v, want %v", a, p, got, want)
			}
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Fatalf("only %d addresses matched; the test says little", matched)
	}
}

func TestAddressParameter(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "10.0.0.1/8": "10.0.0.1/8", "2001:db8::1": "2001:db8::1/128", "::/0": "::/0",
		"::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
	} {
		p, err := parsePrefix(text)
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v; want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"", "x", "10.0.0", "10.0.0.1/33", "10.0.0.1/", "fe80::1%eth0", "fe80::1%eth0/64", "::1/129", "10.0.0.1/08"} {
		if p, err := parsePrefix(text); err == nil {
			t.Errorf("%q was taken for %v", text, p)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 1, time.UTC)
	for text, want := range map[string]string{
		"15m": "2026-11-26T11:45:00.000000001Z", "-15m": "2026-11-26T11:45:00.000000001Z", "-0s": "2026-11-26T12:00:00.000000001Z",
		"2026-01-31T12:00:00Z":                 "2026-01-31T12:00:00Z",
		"2026-01-31T12:00:00.123456789+02:00":  "2026-01-31T10:00:00.123456789Z",
		"2026-01-31T12:00:00.123456789 02:00":  "2026-01-31T10:00:00.123456789Z",
		"2026-01-31T12:00:00.000000001-00:30":  "2026-01-31T12:30:00.000000001Z",
		"1970-01-01T00:00:00.000000000+00:00":  "1970-01-01T00:00:00Z",
		"1970-01-01T00:00:00.000000000000001Z": "1970-01-01T00:00:00Z",
	} {
		at, err := parseTime(text, now)
		if got := time.Unix(0, at).UTC().Format(time.RFC3339Nano); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "15", "2026-01-31", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"} {
		if at, err := parseTime(text, now); err == nil {
			t.Errorf("%q was taken for %v", text, at)
		}
	}
}
