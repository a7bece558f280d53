package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/finwait/finwait/xdp/lab"
)

// buildBinary builds the program where also those without privilege may run it.
func buildBinary(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "finwait")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "finwait")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// process is the program as a process of its own in the tap's namespace.
type process struct {
	*exec.Cmd
	api    string
	stderr output
}

func (s *site) process(binary string, change func(*exec.Cmd)) *process {
	s.t.Helper()
	p := &process{Cmd: exec.Command(binary, "run", "--interface", lab.TapInterface, "--listen", "127.0.0.1:0", "--max-flows", "10000")}
	p.Stderr = &p.stderr
	if change != nil {
		change(p.Cmd)
	}
	s.do(lab.Tap, p.Start)
	s.t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// awaitAPI waits until the process answers.
func (s *site) awaitAPI(p *process, says func() string) {
	s.t.Helper()
	eventually(s.t, "start", func() bool {
		if found := apiAddress.FindStringSubmatch(says()); found != nil {
			p.api = found[1]
		}
		return p.api != ""
	})
}

// However the process ends, the interface is free at once, and another one can
// start there.
func TestProcessEnds(t *testing.T) {
	s := newSite(t, 2)
	binary := buildBinary(t)
	before := s.traces()
	for _, c := range []struct {
		signal syscall.Signal
		status int
	}{{syscall.SIGTERM, 0}, {syscall.SIGINT, 0}, {syscall.SIGHUP, 0}, {syscall.SIGKILL, -1}, {syscall.SIGTERM, 0}} {
		p := s.process(binary, nil)
		s.awaitAPI(p, p.stderr.String)
		if during := s.traces(); during.program == 0 || during.promisc != 1 {
			t.Errorf("while it runs the interface has program %d and promiscuity %d", during.program, during.promisc)
		}
		held, _ := s.connect()
		r := &running{site: s, api: p.api}
		r.awaitState(held, "ESTABLISHED", "ESTABLISHED")
		if err := p.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		err := p.Wait()
		if status := p.ProcessState.ExitCode(); status != c.status {
			t.Errorf("%v: %v: %s", c.signal, err, p.stderr.String())
		}
		after := s.traces()
		if c.signal == syscall.SIGKILL {
			before.flags = after.flags // offloads are put back by the process alone
		} else if !strings.Contains(p.stderr.String(), "\nstopped: 1 records, 1 of them ") {
			t.Errorf("%v: the open connection was not written out: %s", c.signal, p.stderr.String())
		}
		if !after.interfaceEqual(before) {
			t.Errorf("%v: before %+v, after %+v", c.signal, before, after)
		}
	}
}

// Whoever read what the process says may be gone before it: the end is orderly
// all the same.
func TestProcessWithoutReaders(t *testing.T) {
	s := newSite(t, 1)
	before := s.traces()
	says, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	takes, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := s.process(buildBinary(t), func(c *exec.Cmd) {
		c.Args = append(c.Args, "--records", "-")
		c.Stdout, c.Stderr = stdout, stderr
	})
	if err := errors.Join(stdout.Close(), stderr.Close()); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s.awaitAPI(p, func() string {
		_, _ = io.CopyN(&said, says, 1)
		return said.String()
	})
	r := &running{site: s, api: p.api}
	if err := errors.Join(says.Close(), takes.Close()); err != nil {
		t.Fatal(err)
	}
	client, server := s.connect()
	for _, c := range []*net.TCPConn{client, server} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "loss of a record in the ledger", func() bool { return losses(t, r.query("/v1/status"))["sink/records"] == 1 })
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); p.ProcessState.ExitCode() != exitFailure {
		t.Errorf("records that nobody took: %v", err)
	}
	if after := s.traces(); !after.interfaceEqual(before) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// Without privilege the message names what is missing, and nothing was begun.
func TestProcessWithoutPrivilege(t *testing.T) {
	s := newSite(t, 1)
	before := s.traces()
	const nobody = 65534
	var stdout output
	p := s.process(buildBinary(t), func(c *exec.Cmd) {
		c.Stdout, c.Dir = &stdout, "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	})
	if err := p.Wait(); p.ProcessState.ExitCode() != exitFailure {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
	for _, want := range []string{"missing capability", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON", "run as root", "setcap"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the message lacks %q: %s", want, p.stderr.String())
		}
	}
	if after := s.traces(); stdout.String() != "" || !after.interfaceEqual(before) {
		t.Errorf("before %+v, after %+v, standard output %q", before, after, stdout.String())
	}
}
