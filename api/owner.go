package api

import "github.com/finwait/finwait/flowtable"

// owner is the name of whoever a side belongs to; nil where that is not known.
func owner(s *flowtable.Side, n *Names) *string {
	if s.Owner == 0 {
		return nil
	}
	return new(n.Owner(s.Owner))
}

// owner appends the same member, or nothing.
func (e *encoder) owner(name string, s *flowtable.Side) {
	if s.Owner != 0 {
		e.foreign(name, e.names.Owner(s.Owner))
	}
}
