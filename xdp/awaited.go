package xdp

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/bpf"
)

// awaitedWays is how many notes a bucket has, AWAITED_WAYS in awaited.h.
const awaitedWays = 4

// tagsMap is the object's uninitialised data: the tags of awaited.h.
const tagsMap = ".bss"

// awaitedNotes are the acknowledgements that the programs of one tap wait for
// where they account by sequence; see awaited.h. Only the programs touch them.
type awaitedNotes struct {
	notes  *ebpf.Map
	tags   *ebpf.Map
	secret uint64
}

func openAwaited() (*awaitedNotes, error) {
	spec, err := bpf.LoadTap()
	if err != nil {
		return nil, fmt.Errorf("read the tap program: %w", err)
	}
	spec.Maps[tagsMap].Flags |= unix.BPF_F_MMAPABLE // as the loader makes all data
	a := &awaitedNotes{secret: rand.Uint64()}
	if a.notes, err = ebpf.NewMap(spec.Maps[bpf.TapMapAwaited]); err == nil {
		a.tags, err = ebpf.NewMap(spec.Maps[tagsMap])
	}
	if err != nil {
		return nil, errors.Join(LoadError("the notes of awaited acknowledgements", err), a.close())
	}
	return a, nil
}

// shared are the maps that all programs of the tap have in common.
func (a *awaitedNotes) shared() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{bpf.TapMapAwaited: a.notes, tagsMap: a.tags}
}

// capacity is the number of notes.
func (a *awaitedNotes) capacity() int { return int(a.notes.MaxEntries()) * awaitedWays }

func (a *awaitedNotes) close() error { return errors.Join(a.notes.Close(), a.tags.Close()) }
