package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/finwait/finwait/xdp/pcap"
)

const progressInterval = 100 * time.Millisecond

// isTerminal tells whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress is a bar over the octets of all captures, on a terminal only.
type progress struct {
	stop chan struct{}
	wait sync.WaitGroup
}

func newProgress(w io.Writer, sources []*pcap.Source) *progress {
	p := &progress{stop: make(chan struct{})}
	if !isTerminal(w) {
		return p
	}
	read, size := readSoFar(sources)
	bar := progressbar.NewOptions64(size, progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("replay"), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	p.wait.Go(func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			_ = bar.Set64(read) // a bar that cannot be drawn harms nothing
			select {
			case <-p.stop:
				_ = bar.Clear()
				return
			case <-tick.C:
				read, _ = readSoFar(sources)
			}
		}
	})
	return p
}

// readSoFar sums octets read, and to be read: -1 where a size is not known.
func readSoFar(sources []*pcap.Source) (read, size int64) {
	for _, s := range sources {
		r, n := s.Progress()
		read += r
		if n < 0 || size < 0 {
			size = -1
		} else {
			size += n
		}
	}
	return read, size
}

// done takes the bar away.
func (p *progress) done() {
	close(p.stop)
	p.wait.Wait()
}
