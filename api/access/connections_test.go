package access

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// impatient waits for a twentieth of what it should.
var impatient = patience{
	header: defaultPatience.header / 20, request: defaultPatience.request / 20,
	write: defaultPatience.write / 20, idle: defaultPatience.idle / 20,
}

// A client that sends its request octet by octet, and one that sends nothing,
// are let go after the time for a header.
func TestSlowRequests(t *testing.T) {
	s := newSiteOf(t, Config{}, impatient)
	silent, slow := s.dial(""), s.dial("GET /question HTTP/1.1\r\nX: ")
	dripping := make(chan struct{})
	go func() {
		defer close(dripping)
		for {
			if _, err := slow.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if got := status(silent); got != 0 {
		t.Errorf("silence is answered with %d", got)
	}
	<-dripping
	s.awaitRefused(noRequest, 1)
	s.awaitRefused(slowRequest, 1)
}

// A stream may rest for longer than a request may take, and goes on after.
func TestStreamOutlivesRequestLimits(t *testing.T) {
	s := newSiteOf(t, Config{}, impatient)
	conn := s.dial(request("/stream"))
	time.Sleep(2 * impatient.request)
	s.stream <- struct{}{}
	s.stream <- struct{}{}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, len("line\nline\n"))
	if _, err := io.ReadFull(answer.Body, text); err != nil {
		t.Errorf("the stream ended: %v", err)
	}
}

// The connection that has waited longest makes room; those that are served stay.
func TestConnectionLimit(t *testing.T) {
	s := newSite(t, Config{Connections: 3})
	var streams []net.Conn
	for n := range 2 {
		streams = append(streams, s.dial(request("/stream")))
		s.stream <- struct{}{}
		// Which of the streams takes a line is open.
		eventually(t, "another stream", func() bool { return s.active() == n+1 })
	}
	idle := s.dial("")
	eventually(t, "the third connection", func() bool { now, _ := s.Connections(); return now == 3 })
	if answer, _ := s.ask("/question"); answer.StatusCode != 200 {
		t.Errorf("a new one: %s", answer.Status)
	}
	s.awaitRefused(connectionDisplaced, 1)
	if got := status(idle); got != 0 {
		t.Errorf("the idle one lives: %d", got)
	}
	// Until the question's connection rests it is served, and none makes room.
	eventually(t, "the answered one at rest", func() bool { return s.active() == 2 })
	streams = append(streams, s.dial(request("/stream")))
	eventually(t, "third stream", func() bool { s.stream <- struct{}{}; return s.active() == 3 })
	if got := status(s.dial(request("/question"))); got != 0 {
		t.Errorf("a fourth while three are served: %d", got)
	}
	s.awaitRefused(connectionLimit, 1)
	for _, c := range streams {
		_ = c.Close()
	}
	eventually(t, "room", func() bool { now, _ := s.Connections(); return now == 0 })
	if answer, _ := s.ask("/question"); answer.StatusCode != 200 {
		t.Errorf("with room again: %s", answer.Status)
	}
}

// active is how many connections are being served.
func (s *site) active() int {
	l := s.serving.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open - l.waiting.Len()
}

// Ten thousand connections that do nothing take no more than the limit's
// goroutines and memory, and keep nobody out.
func TestTenThousandIdleConnections(t *testing.T) {
	const clients, perServed, perClient = 10_000, 32 << 10, 1 << 10 // the clients' own ends are in this process
	const bound = DefaultConnections*perServed + clients*perClient
	raiseOpenFiles(t, clients+3*DefaultConnections)
	s := newSite(t, Config{})
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	open := make([]net.Conn, clients)
	for i := range open {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		open[i] = c
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET /question HTTP/1.1\r\nX-Slow: ")
		}
		if i%1000 == 0 {
			if answer, _ := s.ask("/question"); answer.StatusCode != 200 {
				t.Fatalf("beside %d idle connections: %s", i, answer.Status)
			}
		}
	}
	eventually(t, "all connections", func() bool { return s.refused(connectionDisplaced) >= clients-DefaultConnections })
	if now, limit := s.Connections(); now > limit {
		t.Errorf("%d connections are open, at most %d may be", now, limit)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 2*DefaultConnections {
		t.Errorf("%d goroutines more", more)
	}
	if more := heapInUse() - heap; more > bound {
		t.Errorf("%d KiB of memory more, want at most %d", more>>10, bound>>10)
	}
	for _, c := range open {
		_ = c.Close()
	}
	eventually(t, "the end of all connections", func() bool { now, _ := s.Connections(); return now == 0 })
	eventually(t, "the end of their goroutines", func() bool { return runtime.NumGoroutine() <= goroutines+10 })
}

// heapInUse is what the program holds after a collection.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// raiseOpenFiles lets this process open so many files until the test ends.
func raiseOpenFiles(t *testing.T, n uint64) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if before.Cur >= n {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: max(n, before.Max)}); err != nil {
		t.Fatalf("raise the limit of open files from %d to %d: %v; run as root", before.Cur, n, err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before) })
}

// A client that asks and does not take the answer is cut off, and its
// connection ends; other streams' silence is not held against them.
func TestSlowReader(t *testing.T) {
	s := newSiteOf(t, Config{}, impatient)
	s.dial(request("/long"))
	s.awaitRefused(slowReader, 1)
	eventually(t, "the end of its connection", func() bool { now, _ := s.Connections(); return now == 0 })
}
