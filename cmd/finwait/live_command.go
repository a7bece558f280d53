package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// commandStart is how long somebody else's program has to get ready.
	commandStart = 1500 * time.Millisecond
	// commandEnd is how long it has to end after SIGTERM.
	commandEnd = 5 * time.Second
	// commandAnswer bounds --exec-after.
	commandAnswer = 10 * time.Second
)

// program is somebody else's, run where frames arrive for as long as the load
// lasts. It has a process group of its own, which is ended as a whole.
type program struct {
	text string
	cmd  *exec.Cmd
	done chan error
}

// startProgram runs text in a shell, in the calling thread's namespace.
// {interface} in it stands for where frames arrive. say takes its output.
func startProgram(ctx context.Context, text, device string, say func(line string)) (*program, error) {
	p := &program{text: text, done: make(chan error, 1)}
	p.cmd = exec.Command("/bin/sh", "-c", "exec "+strings.ReplaceAll(text, "{interface}", device))
	output := &teller{say: say}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.WaitDelay = commandEnd // for what it may have left behind with its output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("--exec %q: %w", text, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	select {
	case err := <-p.done:
		return nil, fmt.Errorf("--exec %q: it ended at once (%s); it must stay in the foreground", text, ended(err))
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), p.stop())
	case <-time.After(commandStart):
		return p, nil
	}
}

// teller is a writer that says whole lines.
type teller struct {
	say  func(line string)
	rest []byte
}

func (t *teller) Write(text []byte) (int, error) {
	t.rest = append(t.rest, text...)
	for {
		line, rest, whole := bytes.Cut(t.rest, []byte("\n"))
		if !whole {
			return len(text), nil
		}
		t.say(string(line))
		t.rest = rest
	}
}

func ended(err error) string {
	if err == nil {
		return "status 0"
	}
	return err.Error()
}

// running returns an error where the program has ended by itself.
func (p *program) running() error {
	select {
	case err := <-p.done:
		p.done <- err
		return fmt.Errorf("--exec %q: it ended before the load did (%s)", p.text, ended(err))
	default:
		return nil
	}
}

// stop ends the program, by force if it does not end itself in time. How it ends
// is its own affair.
func (p *program) stop() error {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("--exec %q: end it: %w", p.text, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(commandEnd):
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("--exec %q: end it by force: %w", p.text, err)
	}
	<-p.done
	return nil
}

// ask runs text in a shell, in the calling thread's namespace, and returns what
// it says.
func ask(ctx context.Context, text, device string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandAnswer)
	defer cancel()
	answer, err := exec.CommandContext(ctx, "/bin/sh", "-c", strings.ReplaceAll(text, "{interface}", device)).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("--exec-after %q: %w: %s", text, err, answer)
	}
	return strings.TrimSpace(string(answer)), nil
}
