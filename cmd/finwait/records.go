package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable"
)

// standardOutput stands for it in --records.
const standardOutput = "-"

// outletPause is how long a worker that has nothing else to do waits for room
// in its ring.
const outletPause = 100 * time.Microsecond

// openRecords opens what --records names, nil for an empty path. A file is
// appended to, and made where it is missing.
func openRecords(path string, stdout io.Writer) (io.WriteCloser, error) {
	switch path {
	case "":
		return nil, nil
	case standardOutput:
		return unowned{stdout}, nil
	}
	// O_NONBLOCK makes a FIFO that nobody reads an error in place of a wait
	// without end (fifo(7)); to a file it means nothing.
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|unix.O_NONBLOCK, 0o644)
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, fmt.Errorf("--records %q: %w; choose a file that can be appended to, or - for standard output", path, err)
	}
	return file, nil
}

// unowned is a writer that is not this command's to close.
type unowned struct{ io.Writer }

func (unowned) Close() error { return nil }

// outlet is a worker's end of its ring. While it captures, a record that finds
// the ring full is lost, since no sink may hold a worker up. Once the capture
// is to end, the worker has nothing better to do than to wait for room.
type outlet struct {
	*flowtable.Ring
	until *atomic.Int64 // CLOCK_MONOTONIC up to which a full ring is waited for, in ns
}

// Next implements flowtable.Records.
func (o outlet) Next() *flowtable.Record {
	for {
		if r := o.Ring.Next(); r != nil || monotonic() >= o.until.Load() {
			return r
		}
		time.Sleep(outletPause)
	}
}
