package flowtable

// Census counts ends of connections by their states.
type Census struct {
	Clients, Servers [States]uint64
}

// Census adds the connections that are followed now to what into has. It reads
// an octet of each, and asks the kernel for nothing, so that a connection whose
// last ACK the kernel alone has seen counts as it was before. It may be called
// from any goroutine and never stops the worker.
func (t *Table) Census(into *Census) {
	var g Glance
	for o := range g.Sights {
		g.Sights[o] = Count
	}
	t.Look(&g, nil)
	into.Add(&g.Counted)
}

// Add takes connections that were counted by their outlines.
func (c *Census) Add(counted *[Outlines]uint64) {
	for o := None + 1; o < Outlines; o++ {
		client, server := o.States()
		c.Clients[client] += counted[o]
		c.Servers[server] += counted[o]
	}
}
