package query

import (
	"errors"
	"strconv"
	"strings"

	"github.com/finwait/finwait/flowtable/segment"
)

// noEncapsulation asks for connections that were not wrapped in anything.
const noEncapsulation = "none"

// wrapping is a layer that a connection was wrapped in; bare, that it was in
// none.
type wrapping struct {
	bare          bool
	layers        uint32 // bit per segment.Layer
	identifier    uint32
	hasIdentifier bool
}

func (w *wrapping) fits(e *segment.Encapsulation) bool {
	if w.bare {
		return e.Layers[0] == segment.NoLayer
	}
	for _, l := range e.Layers {
		if l != segment.NoLayer && w.layers>>l&1 != 0 {
			return !w.hasIdentifier || e.Identifier == w.identifier
		}
	}
	return false
}

// parseWrapping reads a layer's name, with the identifier behind a colon where
// one is asked for.
func parseWrapping(text string) (w wrapping, err error) {
	if text == noEncapsulation {
		return wrapping{bare: true}, nil
	}
	name, identifier, has := strings.Cut(text, ":")
	for l := segment.NoLayer + 1; l < segment.Layers; l++ {
		if l.String() == name {
			w.layers |= 1 << l
		}
	}
	n, parseErr := strconv.ParseUint(identifier, 10, 32)
	if w.layers == 0 || has && parseErr != nil {
		return w, errors.New(`not a layer such as "vlan", "gre", "vxlan" or "vxlan:5001", nor "none"`)
	}
	w.identifier, w.hasIdentifier = uint32(n), has
	return w, nil
}

func encapsulationParameter() Parameter {
	return Parameter{Name: "encapsulation", Doc: "A layer that was stripped, as vxlan, vxlan:5001 or vlan; none for connections without one", Several: true, Example: "vxlan:5001", Scopes: Records | Followed, read: func(b *building, values []string) error {
		var list []wrapping
		for _, v := range values {
			w, err := parseWrapping(v)
			if err != nil {
				return &valueError{v, err}
			}
			list = append(list, w)
		}
		b.filter.add(predicate{cost: costNumber, needs: opened, narrow: func(f *frame, rows []uint16) []uint16 {
			return keep(rows, func(row uint16) bool {
				for i := range list {
					if list[i].fits(&f.block.Encapsulation[row]) {
						return true
					}
				}
				return false
			})
		}})
		return nil
	}}
}
