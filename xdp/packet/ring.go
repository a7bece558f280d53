package packet

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	blockOctets = 128 << 10
	defaultRing = 32 << 20
	// slotOctets is only what the kernel checks the ring's geometry with:
	// frames lie in a block one behind the other.
	slotOctets = 2048
	// retireAfter is when a block that is not full comes to us, in ms. It
	// delays records, not times: the kernel stamps every frame.
	retireAfter = 5
)

// The header of a block is struct tpacket_block_desc with struct
// tpacket_hdr_v1 in it (linux/if_packet.h).
const blockPrefix = unsafe.Sizeof(unix.TpacketBlockDesc{}.Version) + unsafe.Sizeof(unix.TpacketBlockDesc{}.To_priv)

// frame is one frame as it lies in the ring, from the IP header on.
type frame struct {
	packet []byte // captured
	length int    // octets from the IP header on, captured or not
	at     int64  // CLOCK_REALTIME, ns
	vlan   uint16
	tagged bool
}

// ring is the blocks of one socket. A block is the kernel's while its status
// lacks TP_STATUS_USER, ours while it has it.
type ring struct {
	memory []byte
	blocks int
	block  int    // that is read, or will be next
	left   int    // frames of it that are not read; 0 where it is the kernel's
	at     uint32 // offset in it of the next frame
}

func newRing(fd, octets int) (*ring, error) {
	blocks := octets / blockOctets
	if blocks < 2 || octets%blockOctets != 0 {
		return nil, fmt.Errorf("ring of %d octets: choose a multiple of %d, at least two of it", octets, blockOctets)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("packet ring TPACKET_V3 (needs Linux 3.2): %w", err)
	}
	request := unix.TpacketReq3{
		Block_size: blockOctets, Block_nr: uint32(blocks),
		Frame_size: slotOctets, Frame_nr: uint32(octets / slotOctets),
		Retire_blk_tov: retireAfter,
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return nil, fmt.Errorf("packet ring of %d octets: %w", octets, err)
	}
	memory, err := unix.Mmap(fd, 0, octets, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map packet ring of %d octets: %w", octets, err)
	}
	return &ring{memory: memory, blocks: blocks}, nil
}

func (r *ring) close() error {
	if err := unix.Munmap(r.memory); err != nil {
		return fmt.Errorf("unmap packet ring: %w", err)
	}
	return nil
}

// header is that of the block that is read.
func (r *ring) header() *unix.TpacketHdrV1 {
	return (*unix.TpacketHdrV1)(unsafe.Pointer(&r.memory[r.block*blockOctets+int(blockPrefix)]))
}

// next returns the next frame, and whether it is the first of its block. The
// octets stay until release.
func (r *ring) next() (f frame, fresh, ok bool) {
	for r.left == 0 {
		r.release()
		h := r.header()
		if atomic.LoadUint32(&h.Block_status)&unix.TP_STATUS_USER == 0 {
			return frame{}, false, false
		}
		r.left, r.at, fresh = int(h.Num_pkts), h.Offset_to_first_pkt, true
	}
	h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&r.memory[r.block*blockOctets+int(r.at)]))
	from := r.block*blockOctets + int(r.at) + int(h.Net)
	f = frame{
		packet: r.memory[from : from+int(h.Snaplen)],
		length: int(h.Len),
		at:     int64(h.Sec)*1e9 + int64(h.Nsec),
		vlan:   uint16(h.Hv1.Vlan_tci) & 0x0fff, // IEEE 802.1Q: VID
		tagged: h.Status&unix.TP_STATUS_VLAN_VALID != 0,
	}
	r.left--
	r.at += h.Next_offset
	return f, fresh, true
}

// release gives the block back to the kernel once all of it was read.
func (r *ring) release() {
	if r.left > 0 || r.at == 0 {
		return
	}
	atomic.StoreUint32(&r.header().Block_status, unix.TP_STATUS_KERNEL)
	r.block = (r.block + 1) % r.blocks
	r.at = 0
}
