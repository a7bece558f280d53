// Package programcost measures what the tap's kernel programs cost for one
// data segment, beside programs that do less: one that does nothing, one that
// only reads the headers, and one that counts in the least possible way.
//
// # Terms
//
// A Program is what is timed, by BPF_PROG_RUN (Documentation/bpf/bpf_prog_run.rst
// of the kernel). Since that repeats one frame, a front program changes the frame
// and then calls the program under test by a tail call: with hot keys every frame
// is the next segment of one flow, with random keys of any of the prepared flows.
// What the front costs is timed with the empty program behind it, and taken off.
// The programs under test are the objects that a tap loads.
//
// # Ownership
//
// Measure does everything and leaves nothing behind. It needs the privileges
// of a tap, no interface, and a CPU to itself for its figures to mean much;
// several calls at once disturb each other and nothing else.
package programcost
