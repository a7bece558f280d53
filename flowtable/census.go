package flowtable

// Census counts ends of connections by their states.
type Census struct {
	Clients, Servers [States]uint64
}

// Census adds the connections that are followed now to what into has. Unlike
// Connections it asks the kernel for nothing, so that a connection whose last
// ACK the kernel alone has seen counts as it was before. It may be called from
// any goroutine and never stops the worker.
func (t *Table) Census(into *Census) {
	var (
		h hot
		l cold
		c connection
	)
	for slot := uint32(1); slot < t.fresh.Load(); slot++ {
		if snapshot(&t.hot[slot], &t.cold[slot], &h, &l) {
			c.load(&h, &l, t.common())
			into.Clients[c.state(c.client)]++
			into.Servers[c.state(1-c.client)]++
		}
	}
}
