// Instructions prints how many instructions each program of a compiled object
// has, with the functions that it calls: the verifier's work and the cost of a
// segment grow with them, and go generate shows it.
//
//	go run ./instructions tap_bpfel.o
package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/cilium/ebpf"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "instructions: name the objects to read, such as tap_bpfel.o")
		os.Exit(2)
	}
	for _, object := range os.Args[1:] {
		if err := list(os.Stdout, object); err != nil {
			fmt.Fprintln(os.Stderr, "instructions:", err)
			os.Exit(1)
		}
	}
}

// list writes one line for each program of an object, in the order of names.
func list(w io.Writer, object string) error {
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		return fmt.Errorf("read object %q: %w", object, err)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		p := spec.Programs[name]
		slots := 0
		for _, instruction := range p.Instructions {
			slots += int(instruction.Width())
		}
		fmt.Fprintf(w, "%s: %s: %d instructions\n", object, name, slots)
	}
	return nil
}
