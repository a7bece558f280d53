package segment_test

import (
	"slices"
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/segment/segmenttest"
)

// checkPlain holds the short way of an Ethernet frame against the walk through
// all headers, which is the only way behind the header of a cooked capture.
func checkPlain(t *testing.T, frame []byte) {
	t.Helper()
	const addresses = 12
	if len(frame) < addresses+2 {
		return
	}
	got, want := caller(), caller()
	gotOutcome := segment.Decode(segment.LinkEthernet, frame, &got)
	wantOutcome := segment.Decode(segment.LinkLinuxSLL, slices.Concat(make([]byte, 14), frame[addresses:]), &want)
	if gotOutcome != wantOutcome || got != want {
		t.Fatalf("Ethernet: %v, %+v\ncooked: %v, %+v", gotOutcome, got, wantOutcome, want)
	}
}

func TestDecodePlain(t *testing.T) {
	var all [][]byte
	for _, cases := range allCases() {
		for _, c := range cases {
			if c.link == segment.LinkEthernet {
				all = append(all, c.frame)
			}
		}
	}
	for _, c := range segmenttest.Cases() {
		all = append(all, c.Frame)
	}
	for _, frame := range all {
		for cut := range min(len(frame), 160) + 1 {
			checkPlain(t, frame[:cut])
		}
		// Every header field that decides anything lies here.
		for at := 12; at < min(len(frame), 80); at++ {
			for bit := range 8 {
				changed := slices.Clone(frame)
				changed[at] ^= 1 << bit
				checkPlain(t, changed)
			}
		}
		checkPlain(t, frame)
	}
}
