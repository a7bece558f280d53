package xdp

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Check refuses an interface of the calling thread's namespace for the reasons
// for which Open does: it is missing or down, has a foreign XDP program or, but
// by force, an address of this machine. It changes nothing.
func Check(name string, force bool) error {
	handle, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer handle.Close()
	tool, err := openEthtool()
	if err != nil {
		return err
	}
	if _, err = inspect(handle, tool, name, force); err != nil {
		_ = tool.close()
		return err
	}
	return tool.close()
}
