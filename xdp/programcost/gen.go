package programcost

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types cost bpf/cost.c -- -O2 -g -Wall -Werror -mcpu=v3 -I../bpf -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
//go:generate go run ../bpf/instructions cost_bpfel.o
