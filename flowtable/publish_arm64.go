package flowtable

// publish stores a value: after every store before it, before every store after
// it, as others see them. An atomic store of sync/atomic orders loads as well, so
// that those of the next segments would stand still.
//
//go:noescape
func publish(p *uint32, value uint32)
