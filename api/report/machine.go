package report

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where a benchmark ran. What could not be found is empty or 0.
type Machine struct {
	CPU       string `json:"cpu"`        // model, as /proc/cpuinfo names it
	Cores     int    `json:"cores"`      // that this process may use
	Memory    uint64 `json:"memory"`     // octets
	HugePages string `json:"huge_pages"` // transparent huge pages: always, madvise or never
	OS        string `json:"os"`         // GOOS
	Arch      string `json:"arch"`       // GOARCH
	Kernel    string `json:"kernel"`     // release
	Go        string `json:"go"`         // version of the tool chain
	Version   string `json:"version"`    // of finwait: its commit; the caller's to set
}

// ThisMachine describes the machine that this process runs on.
func ThisMachine() Machine {
	m := Machine{
		CPU:       cpuModel(readProc("/proc/cpuinfo")),
		Cores:     runtime.NumCPU(),
		HugePages: chosen(readProc("/sys/kernel/mm/transparent_hugepage/enabled")),
		OS:        runtime.GOOS,
		Arch:      runtime.GOARCH,
		Go:        runtime.Version(),
	}
	if memory, ok := field(readProc("/proc/meminfo"), "MemTotal"); ok {
		m.Memory = kibibytes(memory)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return m
}

// memory is for a reader, to the precision that does not depend on the kernel.
func (m *Machine) memory() string {
	if m.Memory == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(m.Memory)/(1<<30), 'f', 1, 64) + " GiB"
}

// MemoryAvailable is how much a new process could take without swapping
// (MemAvailable of /proc/meminfo), in octets; 0 where it is not known.
func MemoryAvailable() uint64 {
	available, _ := field(readProc("/proc/meminfo"), "MemAvailable")
	return kibibytes(available)
}

// readProc returns nothing for a file that cannot be read: a description of
// the machine is no reason to fail.
func readProc(path string) []byte {
	b, _ := os.ReadFile(path)
	return b
}

// field finds the value of "name : value" among lines.
func field(text []byte, name string) (string, bool) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// cpuModel is the model in /proc/cpuinfo; arm64 has only numbers for it
// (arch/arm64/kernel/cpuinfo.c).
func cpuModel(cpuinfo []byte) string {
	if model, ok := field(cpuinfo, "model name"); ok {
		return model
	}
	implementer, _ := field(cpuinfo, "CPU implementer")
	part, ok := field(cpuinfo, "CPU part")
	if !ok {
		return ""
	}
	return "implementer " + implementer + " part " + part
}

// chosen is the word in brackets of a sysfs choice.
func chosen(text []byte) string {
	_, rest, _ := strings.Cut(string(text), "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// kibibytes turns "1234 kB" into octets.
func kibibytes(value string) uint64 {
	number, _, _ := strings.Cut(value, " ")
	n, _ := strconv.ParseUint(number, 10, 64)
	return n << 10
}
