package worker

import (
	"fmt"
	"syscall"
	"unsafe"
)

// pin keeps the calling thread on the worker's CPU, so that its table's cache
// lines stay there (sched_setaffinity(2)).
func (w *Worker) pin() error {
	cpu := w.member.CPU
	if cpu < 0 {
		return nil
	}
	var mask [128]uint64 // CONFIG_NR_CPUS is at most 8192
	if cpu >= len(mask)*64 {
		return fmt.Errorf("pinning to CPU %d: only the first %d can be chosen", cpu, len(mask)*64)
	}
	mask[cpu/64] = 1 << (cpu % 64)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return fmt.Errorf("pinning to CPU %d: %w; choose CPUs that this process may use", cpu, errno)
	}
	return nil
}
