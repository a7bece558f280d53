package xdp

// InterfaceInfo is how one interface is measured on.
type InterfaceInfo struct {
	Name   string
	Driver string // kernel driver, empty where it has none
	Mode   string // native or generic; on a gateway tcx or tc
	Queues int    // receive queues
}

// Interfaces lists what the tap is open on.
func (t *Tap) Interfaces() []InterfaceInfo {
	infos := make([]InterfaceInfo, 0, len(t.ports))
	for _, p := range t.ports {
		infos = append(infos, InterfaceInfo{Name: p.nic.name, Driver: p.nic.driver, Mode: p.attachment.mode, Queues: p.nic.queues})
	}
	return infos
}

// Loss tells whether a count says that a segment, or what was known of it,
// did not reach its connection.
func (c Count) Loss() bool {
	switch c.Stage {
	case StageNIC, StageRing:
		return true
	case StageSocket:
		return c.Reason != "fill_ring_empty" // why a segment is in rx_dropped
	case StageProgram:
		return c.Reason == "flow_table_full" || c.Reason == "describe_error" || c.Reason == "no_socket" ||
			c.Reason == "fin_acks_forgotten"
	case StageIngress, StageEgress:
		return c.Reason == "flow_table_full" || c.Reason == "ring_full" || c.Reason == "held_back"
	case StageFlowTable:
		return c.Reason == "orphaned"
	default:
		return false
	}
}
