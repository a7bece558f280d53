package segment

import "strconv"

// Layer is one thing that was stripped before the connection's own IP header.
type Layer uint8

// The layers a frame may be wrapped in. Those from LayerERSPAN on carry an
// identifier.
const (
	NoLayer Layer = iota
	LayerVLAN
	LayerQinQ
	LayerPPPoE
	LayerMPLS
	LayerIPIP
	LayerGRE
	LayerERSPANTypeI // ERSPAN without a header of its own
	LayerERSPAN      // types II and III: session
	LayerVXLAN       // VNI
	LayerGENEVE      // VNI
	LayerGTPU        // TEID

	Layers = 12
)

func (l Layer) String() string {
	if l >= Layers {
		return ""
	}
	return [Layers]string{
		LayerVLAN: "vlan", LayerQinQ: "qinq", LayerPPPoE: "pppoe", LayerMPLS: "mpls", LayerIPIP: "ipip",
		LayerGRE: "gre", LayerERSPANTypeI: "erspan", LayerERSPAN: "erspan",
		LayerVXLAN: "vxlan", LayerGENEVE: "geneve", LayerGTPU: "gtpu",
	}[l]
}

// identified tells whether the layer has an identifier.
func (l Layer) identified() bool { return l >= LayerERSPAN }

// layersMax is how many layers are stripped; the kernel program has the same
// bound.
const layersMax = 4

// Encapsulation lists the stripped layers, outermost first, NoLayer after the
// last. One VLAN tag is LayerVLAN, two or more tags are LayerQinQ; any number
// of MPLS labels is LayerMPLS.
type Encapsulation struct {
	Layers     [layersMax]Layer
	Identifier uint32 // of the outermost layer that has one, in host order
}

// full tells whether no layer can be added.
func (e *Encapsulation) full() bool { return e.Layers[layersMax-1] != NoLayer }

// add appends a layer, for which there must be room, and its identifier where
// it is the first that has one.
func (e *Encapsulation) add(l Layer, identifier uint32) {
	known := false
	for i, outer := range e.Layers {
		if outer == NoLayer {
			e.Layers[i] = l
			if l.identified() && !known {
				e.Identifier = identifier
			}
			return
		}
		known = known || outer.identified()
	}
}

// AppendTo appends the text of String to b.
func (e Encapsulation) AppendTo(b []byte) []byte {
	known := false
	for i, l := range e.Layers {
		if l == NoLayer {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, l.String()...)
		if l.identified() && !known {
			known = true
			b = strconv.AppendUint(append(b, ':'), uint64(e.Identifier), 10)
		}
	}
	return b
}

// String joins the layers by commas, the identifier behind the layer it
// belongs to, as in "vlan,vxlan:5001". It is empty where there are none.
func (e Encapsulation) String() string { return string(e.AppendTo(nil)) }
