package gateway

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attachedPrograms lists the tcx programs at an interface of the calling thread's
// namespace.
func attachedPrograms(index int) (names []string, err error) {
	for _, kind := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: kind})
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, p := range result.Programs {
			names = append(names, fmt.Sprintf("%v %d", kind, p.ID))
		}
	}
	return names, nil
}
