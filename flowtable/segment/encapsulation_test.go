package segment_test

import (
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
)

func TestEncapsulationString(t *testing.T) {
	type layers = [4]segment.Layer
	for want, e := range map[string]segment.Encapsulation{
		"":                     {},
		"vlan":                 {Layers: layers{segment.LayerVLAN}},
		"qinq,pppoe":           {Layers: layers{segment.LayerQinQ, segment.LayerPPPoE}},
		"mpls,ipip,gre":        {Layers: layers{segment.LayerMPLS, segment.LayerIPIP, segment.LayerGRE}},
		"erspan":               {Layers: layers{segment.LayerERSPANTypeI}},
		"erspan:0":             {Layers: layers{segment.LayerERSPAN}},
		"erspan,vxlan:5":       {Layers: layers{segment.LayerERSPANTypeI, segment.LayerVXLAN}, Identifier: 5},
		"vlan,geneve:7,vlan":   {Layers: layers{segment.LayerVLAN, segment.LayerGENEVE, segment.LayerVLAN}, Identifier: 7},
		"gtpu:4294967295,gre":  {Layers: layers{segment.LayerGTPU, segment.LayerGRE}, Identifier: 1<<32 - 1},
		"vxlan:1,vxlan":        {Layers: layers{segment.LayerVXLAN, segment.LayerVXLAN}, Identifier: 1},
		"qinq,gre,vlan,gtpu:3": {Layers: layers{segment.LayerQinQ, segment.LayerGRE, segment.LayerVLAN, segment.LayerGTPU}, Identifier: 3},
	} {
		if got := e.String(); got != want {
			t.Errorf("%v: %q, want %q", e, got, want)
		}
		if got := string(e.AppendTo([]byte("x"))); got != "x"+want {
			t.Errorf("%v appended: %q, want %q", e, got, "x"+want)
		}
	}
}

func TestEncapsulationAppendsInPlace(t *testing.T) {
	e := segment.Encapsulation{Layers: [4]segment.Layer{segment.LayerVLAN, segment.LayerVXLAN}, Identifier: 1}
	room := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(10, func() { room = e.AppendTo(room[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLayerNames(t *testing.T) {
	for l := range segment.Layer(255) {
		if named := l.String() != ""; named != (l != segment.NoLayer && l < segment.Layers) {
			t.Errorf("layer %d is named %q", l, l)
		}
	}
}
