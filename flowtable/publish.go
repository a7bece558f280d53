//go:build amd64 || arm64

package flowtable

// publish stores a value: after every store before it, before every store after
// it, as others see them. An atomic store of sync/atomic orders loads as well,
// which on amd64 costs as much as the rest of a plain segment.
//
//go:noescape
func publish(p *uint32, value uint32)
