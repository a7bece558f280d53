package cgroup

// MountPoint is mountPoint.
var MountPoint = mountPoint

// SetRoom makes room for so many octets of names, and forgets all that are known.
func (n *Names) SetRoom(octets int) { n.known, n.room = map[uint64]entry{}, octets }
