// Package bpf holds the kernel programs, compiled, and what cilium/ebpf needs
// to load them. The C sources stand beside it, one header per idea:
//
//   - headers.h: protocol headers as they stand on the wire
//   - segment.h: what is shared with Go, flowtable/segment
//   - parse.h: from a frame to the fields of its TCP segment
//   - tunnel.h: labels and tunnels around it
//   - flows.h: the flow table, and what a segment does to its flow's counters
//   - awaited.h: without a flow table, which acknowledgements are to come
//   - frame_xdp.h, frame_skb.h: a frame in an XDP program, and in one of tc
//   - follow.h: which segments are passed to user space
//   - standing.h: what is told of one
//   - describe.h: a struct segment in the place of the frame
//   - owner.h: whose a segment is
//   - rings.h: a struct segment in a ring that user space reads
//   - limit.h: how many of them a gateway passes
//   - ledger.h: what became of every frame
//   - accounts.h: many entries of the flow table in one system call
//   - tap.c, gateway.c: the programs
//
// The package has no state; the loaders may be called from any goroutine.
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -go-package bpf Tap tap.c -- -O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -go-package bpf Gateway gateway.c -- -O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
//go:generate go run ./instructions tap_bpfel.o gateway_bpfel.o
