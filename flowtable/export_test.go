package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// Kernel is the kernel of the tests, for those outside of the package.
type Kernel = kernel

// NewKernel has room for so many entries.
func NewKernel(room int) *Kernel { return newKernel(room) }

// See counts s, describes its flow in it, and tells whether it is passed on.
func (k *kernel) See(s *segment.Segment) (passed bool) { return k.see(s) }
