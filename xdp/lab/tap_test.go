package lab

import (
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

const (
	tapQueues  = 2
	slotVLAN   = tapQueues // frames whose ether_type is 802.1Q where XDP sees it
	slotQinQ   = tapQueues + 1
	slots      = tapQueues + 2
	xdpDrop    = 1
	offsetData = 0 // struct xdp_md (linux/bpf.h)
	offsetEnd  = 4
	offsetRXQ  = 16
)

// counter is an XDP program that counts frames by receive queue and by VLAN
// tag, and drops them.
func counter(t *testing.T) (*ebpf.Map, *ebpf.Program) {
	t.Helper()
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: slots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { counts.Close() })
	// count adds one to the slot whose number is on the stack.
	count := func(done string) asm.Instructions {
		return asm.Instructions{
			asm.LoadMapPtr(asm.R1, counts.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, done),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		}
	}
	instructions := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R0, asm.R6, offsetRXQ, asm.Word),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
	}
	instructions = append(instructions, count("done")...)
	instructions = append(instructions,
		asm.LoadMem(asm.R2, asm.R6, offsetData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, offsetEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 14),
		asm.JGT.Reg(asm.R4, asm.R3, "done"),
		asm.LoadMem(asm.R7, asm.R2, 12, asm.Half),
		asm.HostTo(asm.BE, asm.R7, asm.Half),
		asm.Mov.Imm(asm.R0, slotVLAN),
		asm.JEq.Imm(asm.R7, etherTypeVLAN, "tagged"),
		asm.Mov.Imm(asm.R0, slotQinQ),
		asm.JEq.Imm(asm.R7, etherTypeQinQ, "tagged"),
		asm.Ja.Label("done"),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word).WithSymbol("tagged"),
	)
	instructions = append(instructions, count("done")...)
	instructions = append(instructions, asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("done"), asm.Return())
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: instructions, License: "Dual BSD/GPL"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return counts, program
}

// TestTapTakesXDP attaches a program in the driver: connections are spread
// over the queues, and VLAN tags stand in the frame.
func TestTapTakesXDP(t *testing.T) {
	network := build(t, Config{TapQueues: tapQueues})
	counts, program := counter(t)
	err := network.Do(Tap, func() error {
		device, err := net.InterfaceByName(TapInterface)
		if err != nil {
			return err
		}
		attached, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: device.Index, Flags: link.XDPDriverMode})
		if err == nil {
			t.Cleanup(func() { attached.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	expected, err := network.Traffic(t.Context(), time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	tagged := map[string]uint64{}
	for _, e := range expected {
		if e.VLAN != 0 {
			tagged[e.Encapsulation] += *e.ClientPackets + *e.ServerPackets
		}
	}
	got := counted(t, counts)
	want := tagged["vlan"] + tagged["qinq"]
	// The last frames may still be on their way from the hub.
	for begun := time.Now(); got[slotVLAN]+got[slotQinQ] < want && time.Since(begun) < 5*time.Second; {
		time.Sleep(poll)
		got = counted(t, counts)
	}
	for slot, frames := range got {
		if frames == 0 {
			t.Errorf("nothing was counted in slot %d", slot)
		}
	}
	t.Logf("frames by queue %d, tagged %d", got[:tapQueues], got[tapQueues:])
	if got[slotVLAN] != tagged["vlan"] || got[slotQinQ] != tagged["qinq"] {
		t.Errorf("%d frames behind one tag and %d behind two, expected %v", got[slotVLAN], got[slotQinQ], tagged)
	}
}

// counted reads all slots.
func counted(t *testing.T, counts *ebpf.Map) []uint64 {
	t.Helper()
	got := make([]uint64, slots)
	for slot := range uint32(slots) {
		if err := counts.Lookup(slot, &got[slot]); err != nil {
			t.Fatal(err)
		}
	}
	return got
}
