package segment_test

import (
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/segment/segmenttest"
)

// framed is the frame of a case by its name.
func framed(name string) []byte {
	for _, c := range segmenttest.Cases() {
		if c.Name == name {
			return c.Frame
		}
	}
	panic("no case is named " + name)
}

func checkCase(t *testing.T, c segmenttest.Case) {
	t.Helper()
	before := caller()
	got := before
	if outcome := segment.Decode(segment.LinkEthernet, c.Frame, &got); outcome != c.Outcome {
		t.Errorf("%s: outcome %v, want %v\n%x", c.Name, outcome, c.Outcome, c.Frame)
		return
	}
	if c.Outcome != segment.TCP {
		if got != before {
			t.Errorf("%s: the segment was changed to %+v", c.Name, got)
		}
		return
	}
	if text := got.Encapsulation.String(); text != c.Encapsulation {
		t.Errorf("%s: encapsulation %q, want %q", c.Name, text, c.Encapsulation)
	}
	checkEncapsulation(t, got.Encapsulation)
	want := c.Segment()
	want.Encapsulation = got.Encapsulation
	want.At, want.WireLength, want.Interface, want.Marks = before.At, before.WireLength, before.Interface, before.Marks
	want.Own, want.Other = before.Own, before.Other
	if got != want {
		t.Errorf("%s: segment %+v\nwant %+v", c.Name, got, want)
	}
}

// checkEncapsulation holds that layers stand without gaps, and an identifier
// only where a layer has one.
func checkEncapsulation(t *testing.T, e segment.Encapsulation) {
	t.Helper()
	ended, identified := false, false
	for _, l := range e.Layers {
		if l >= segment.Layers || ended && l != segment.NoLayer {
			t.Errorf("layers %v", e.Layers)
		}
		ended = ended || l == segment.NoLayer
		identified = identified || l >= segment.LayerERSPAN
	}
	if e.Identifier != 0 && !identified {
		t.Errorf("identifier %d of layers %v", e.Identifier, e.Layers)
	}
}

func TestDecodeEncapsulations(t *testing.T) {
	layers, outcomes := map[segment.Layer]int{}, map[segment.Outcome]int{}
	for _, c := range segmenttest.Cases() {
		checkCase(t, c)
		outcomes[c.Outcome]++
		var s segment.Segment
		segment.Decode(segment.LinkEthernet, c.Frame, &s)
		for _, l := range s.Encapsulation.Layers {
			layers[l]++
		}
	}
	if len(layers) != segment.Layers || len(outcomes) != segment.Outcomes {
		t.Errorf("only layers %v and outcomes %v were met", layers, outcomes)
	}
}

// Behind each octet of every frame, the cut is told from what is not TCP.
func TestDecodeCutOff(t *testing.T) {
	cuts := 0
	for _, c := range segmenttest.Cases() {
		if c.Outcome != segment.TCP {
			continue
		}
		for _, cut := range c.Cuts(0) {
			checkCase(t, cut)
			cuts++
		}
	}
	if cuts == 0 {
		t.Error("nothing was cut")
	}
	t.Logf("%d cuts", cuts)
}

func TestDecodeTunnelsAllocateNothing(t *testing.T) {
	var s segment.Segment
	for _, c := range segmenttest.Cases() {
		if n := testing.AllocsPerRun(10, func() { segment.Decode(segment.LinkEthernet, c.Frame, &s) }); n != 0 {
			t.Errorf("%s: %v allocations", c.Name, n)
		}
	}
}

// A tunnel's own packet may come over any link.
func TestDecodeTunnelOverOtherLinks(t *testing.T) {
	for _, name := range []string{"vxlan:5001", "gre flags b000", "gtpu:6", "mpls", "pppoe"} {
		frame := framed(name)
		var over, want segment.Segment
		segment.Decode(segment.LinkEthernet, frame, &want)
		if o := segment.Decode(segment.LinkLinuxSLL, append(make([]byte, 2), frame...), &over); o != segment.TCP || over != want {
			t.Errorf("%s over SLL: %v, %+v\nwant %+v", name, o, over, want)
		}
	}
}
