package xdp

import (
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/bpf"
)

// TestLayout holds every struct that the program shares with Go against the
// object's BTF: each field by name, offset and size.
func TestLayout(t *testing.T) {
	spec, err := bpf.LoadTap()
	if err != nil {
		t.Fatal(err)
	}
	for name, goType := range map[string]reflect.Type{
		"key":            reflect.TypeFor[segment.Key](),
		"direction":      reflect.TypeFor[segment.Direction](),
		"counters":       reflect.TypeFor[segment.Counters](),
		"segment":        withoutLast(reflect.TypeFor[segment.Segment]()),
		"encapsulation":  reflect.TypeFor[segment.Encapsulation](),
		"ledger":         reflect.TypeFor[ProgramCounts](),
		"batch":          reflect.TypeFor[walkBatch](),
		"awaited_bucket": reflect.TypeFor[noteBucket](),
		"request":        reflect.TypeFor[walkRequest](),
	} {
		t.Run(name, func(t *testing.T) {
			var c *btf.Struct
			if err := spec.Types.TypeByName(name, &c); err != nil {
				t.Fatal(err)
			}
			if uintptr(c.Size) != goType.Size() {
				t.Errorf("%d octets in C, %d in Go", c.Size, goType.Size())
			}
			if goType.Kind() == reflect.Struct {
				compareFields(t, c, goType)
			}
		})
	}
}

// withoutLast is a struct without its last field: the kernel's struct segment ends
// before the owner.
func withoutLast(whole reflect.Type) reflect.Type {
	fields := reflect.VisibleFields(whole)
	return reflect.StructOf(fields[:len(fields)-1])
}

func compareFields(t *testing.T, c *btf.Struct, goType reflect.Type) {
	t.Helper()
	named := make(map[string]reflect.StructField)
	for field := range goType.Fields() {
		if field.Name != "_" {
			named[flat(field.Name)] = field
		}
	}
	for _, member := range c.Members {
		if member.Name == "unused" {
			continue
		}
		field, ok := named[flat(member.Name)]
		if !ok {
			t.Errorf("%q has no field in Go", member.Name)
			continue
		}
		delete(named, flat(member.Name))
		size, err := btf.Sizeof(member.Type)
		if err != nil {
			t.Fatal(err)
		}
		if uintptr(member.Offset.Bytes()) != field.Offset || uintptr(size) != field.Type.Size() {
			t.Errorf("%q: %d octets at %d in C, %d at %d in Go", member.Name, size, member.Offset.Bytes(), field.Type.Size(), field.Offset)
		}
	}
	for name := range named {
		t.Errorf("%q has no field in C", name)
	}
}

// flat makes low_port and LowPort the same.
func flat(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// TestEnums holds the numbers that have names on both sides together.
func TestEnums(t *testing.T) {
	spec, err := bpf.LoadTap()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]uint64{
		"segment_mark": {
			"SEGMENT_COUNTED": segment.Counted, "SEGMENT_HAS_ENTRY": segment.HasEntry,
			"SEGMENT_OPENED": segment.Opened, "SEGMENT_FINAL": segment.Final, "SEGMENT_NO_ROOM": segment.NoRoom,
			"SEGMENT_PER_INTERFACE": segment.PerInterface, "SEGMENT_OWNED": segment.Owned,
			"SEGMENT_RAISED": segment.Raised,
		},
		"direction_mark": {
			"DIRECTION_STARTED": segment.DirectionStarted, "DIRECTION_ACKED": segment.DirectionAcked,
			"DIRECTION_FINISHED": segment.DirectionFinished, "DIRECTION_AWAITED": segment.DirectionAwaited,
		},
		"tcp_flag": {
			"TCP_FIN": segment.FIN, "TCP_SYN": segment.SYN, "TCP_RST": segment.RST, "TCP_ACK": segment.ACK,
		},
		"layer": {
			"LAYER_NONE": uint64(segment.NoLayer), "LAYER_VLAN": uint64(segment.LayerVLAN), "LAYER_QINQ": uint64(segment.LayerQinQ),
			"LAYER_PPPOE": uint64(segment.LayerPPPoE), "LAYER_MPLS": uint64(segment.LayerMPLS), "LAYER_IPIP": uint64(segment.LayerIPIP),
			"LAYER_GRE": uint64(segment.LayerGRE), "LAYER_ERSPAN_TYPE_I": uint64(segment.LayerERSPANTypeI),
			"LAYER_ERSPAN": uint64(segment.LayerERSPAN), "LAYER_VXLAN": uint64(segment.LayerVXLAN),
			"LAYER_GENEVE": uint64(segment.LayerGENEVE), "LAYER_GTPU": uint64(segment.LayerGTPU),
		},
		"outcome": {
			"OUTCOME_TCP": uint64(segment.TCP), "OUTCOME_NOT_IP": uint64(segment.NotIP), "OUTCOME_NOT_TCP": uint64(segment.NotTCP),
			"OUTCOME_FRAGMENT": uint64(segment.Fragment), "OUTCOME_UNDECODABLE": uint64(segment.Undecodable),
		},
		"batch_mode": {"BATCH_PEEK": uint64(peek), "BATCH_TAKE": uint64(take), "BATCH_SWEEP": uint64(sweep)},
	} {
		var c *btf.Enum
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Errorf("enum %q: %v", name, err)
			continue
		}
		got := make(map[string]uint64)
		for _, value := range c.Values {
			got[value.Name] = value.Value
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("enum %q: %v in C, %v in Go", name, got, want)
		}
	}
}

// TestEndNames holds the ledger's reasons against enum end.
func TestEndNames(t *testing.T) {
	spec, err := bpf.LoadTap()
	if err != nil {
		t.Fatal(err)
	}
	var c *btf.Enum
	if err := spec.Types.TypeByName("end", &c); err != nil {
		t.Fatal(err)
	}
	for _, value := range c.Values {
		if value.Name == "ENDS" {
			if int(value.Value) != len(EndNames) {
				t.Errorf("%d ends in C, %d in Go", value.Value, len(EndNames))
			}
			continue
		}
		if want := strings.ToLower(strings.TrimPrefix(value.Name, "END_")); EndNames[value.Value] != want {
			t.Errorf("end %d is %q in C, %q in Go", value.Value, want, EndNames[value.Value])
		}
	}
}

// TestSpansShared holds the sizes that size the shared memory against the maps.
func TestSpansShared(t *testing.T) {
	spec, err := bpf.LoadTap()
	if err != nil {
		t.Fatal(err)
	}
	batches := spec.Maps[bpf.TapMapBatches]
	if batches.MaxEntries != accountsSlots || uintptr(batches.ValueSize) != unsafe.Sizeof(walkBatch{}) {
		t.Errorf("%d batches of %d octets in C, %d of %d in Go", batches.MaxEntries, batches.ValueSize, accountsSlots, unsafe.Sizeof(walkBatch{}))
	}
}
