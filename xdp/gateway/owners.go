package gateway

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
)

// checkOwners tells whether the kernel knows the control group of a packet's socket.
func checkOwners() error {
	if err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnSkbCgroupId); err != nil {
		return fmt.Errorf("the owners of connections: %w: a kernel with CONFIG_SOCK_CGROUP_DATA is needed (it comes with CONFIG_CGROUP_BPF)", err)
	}
	return nil
}
