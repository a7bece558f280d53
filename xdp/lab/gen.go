package lab

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -cc clang-14 -strip llvm-strip-14 -target bpfel -type state_change states bpf/states.c -- -O2 -g -Wall -Werror -mcpu=v3
