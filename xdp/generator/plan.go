package generator

import "fmt"

// Plan tells what every connection that was opened sent to its end. It is for
// after the window is drained.
type Plan struct {
	config Config
	opened uint64
	last   map[uint32]uint32 // data segments of those that were cut short
}

// Plan returns what was sent. The window must be drained.
func (g *Generator) Plan() (*Plan, error) {
	counts := g.Counts()
	if counts.Opened != counts.Closed {
		return nil, fmt.Errorf("%d of %d connections are still open: what they send is not known before the window is drained",
			counts.Opened-counts.Closed, counts.Opened)
	}
	p := &Plan{config: g.config, opened: counts.Opened, last: make(map[uint32]uint32)}
	for i := range min(uint64(len(g.slots)), counts.Opened) {
		if s := &g.slots[i]; s.Sent != uint32(p.DataSegments(s.Connection)) {
			p.last[s.Connection] = s.Sent
		}
	}
	return p, nil
}

// Opened is the number of connections.
func (p *Plan) Opened() uint64 { return p.opened }

// DataSegments is how many data segments number n sent; n is below Opened.
func (p *Plan) DataSegments(n uint32) int {
	if sent, cut := p.last[n]; cut {
		return int(sent)
	}
	if n < uint32(p.config.Window) {
		return p.config.firstData(n)
	}
	return p.config.DataSegments
}

// Connection is what number n sent.
func (p *Plan) Connection(n uint32) Connection { return p.config.connection(n, p.DataSegments(n)) }

// firstData is how many data segments the connection that filled slot n has.
func (c *Config) firstData(n uint32) int {
	return int(uint64(n*2654435769) * uint64(c.DataSegments+openingSegments+closingSegments) >> 32)
}
