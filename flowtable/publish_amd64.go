package flowtable

// publish stores a value: after every store before it, before every store after
// it, as others see them. An atomic store of sync/atomic orders loads as well, so
// that those of the next segments would stand still. Stores of amd64 become visible
// in the order of the program, and across a call the compiler keeps that; one in
// assembly costs twice as much.
//
//go:noinline
func publish(p *uint32, value uint32) { *p = value }
