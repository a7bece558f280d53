package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Policies of memory (linux/mempolicy.h).
const (
	policyDefault   = 0
	policyPreferred = 1
)

// nodes is a set of NUMA nodes: CONFIG_NODES_SHIFT is at most 10.
type nodes [1 << 10 / 64]uint64

// onNode runs fn on a thread that takes its memory from a NUMA node while there is room,
// as a thread on a CPU of it does by itself (set_mempolicy(2)); below 0 stands for any.
// A policy that the process was given is left alone.
func onNode(node int, fn func() error) error {
	if node < 0 {
		return fn()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var policy int32
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&policy)), 0, 0, 0, 0, 0); errno != 0 || policy != policyDefault {
		return fn()
	}
	var of nodes
	of[node/64] = 1 << (node % 64)
	setPolicy(policyPreferred, &of)
	defer setPolicy(policyDefault, new(nodes))
	return fn()
}

func setPolicy(policy uintptr, of *nodes) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SET_MEMPOLICY, policy, uintptr(unsafe.Pointer(of)), unsafe.Sizeof(*of)*8)
}

// nodeOf is the NUMA node of a CPU; below 0 where it is not known or there is but one.
func nodeOf(cpu int) int {
	online, err := os.ReadFile("/sys/devices/system/node/online")
	if err != nil || !strings.ContainsAny(string(online), "-,") {
		return -1
	}
	found, _ := filepath.Glob(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/node*", cpu))
	for _, path := range found {
		if node, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "node")); err == nil && node < len(nodes{})*64 {
			return node
		}
	}
	return -1
}
