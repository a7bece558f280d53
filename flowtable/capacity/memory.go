package capacity

import (
	"errors"
	"fmt"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// goMapOctets is about what a connection takes in GoMap, with the room for
// growth and for garbage that the runtime keeps.
const goMapOctets = 400

// Memory is about how many octets Measure needs at its peak: all contenders of
// all sizes stand beside each other.
func Memory(flows []uint32) (octets uint64, err error) {
	for _, n := range flows {
		table, err := flowtable.New(flowtable.Config{MaxFlows: n, Records: &collector{}}, segment.NewHasher())
		if err != nil {
			return 0, fmt.Errorf("a table for %d flows: %w", n, err)
		}
		octets += table.Memory() + uint64(n)*(goMapOctets+itemSize)
		err = errors.Join(err, table.Close()) // reserved, but nothing was touched
		if err != nil {
			return 0, err
		}
	}
	return octets, nil
}
