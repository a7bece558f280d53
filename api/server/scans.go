package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	// maxScans is how many requests may read the history or the table at once:
	// a scan is bound by memory, and a query must leave cores to the workers.
	maxScans = 2
	// maxWaiting is how many more may wait for their turn, and scanPatience how
	// long: a page asks half a dozen questions at once, and a scan takes tens of
	// milliseconds.
	maxWaiting   = 64
	scanPatience = 5 * time.Second
	// lookPatience is how long a question may read the kernel's counters of
	// connections that are followed.
	lookPatience = 10 * time.Second
	// retryAfter is what the others are told, in seconds.
	retryAfter = "2"
)

// scans deals out the places to scan.
type scans struct{ places, waiting chan struct{} }

func newScans() scans {
	return scans{places: make(chan struct{}, maxScans), waiting: make(chan struct{}, maxWaiting)}
}

// beginScan waits for one of the places to scan; done gives it back. Where too
// many wait already, or it takes too long, the error is 503 and says when to ask
// again.
func (s *Server) beginScan(ctx context.Context) (done func(), err error) {
	select {
	case s.scans.places <- struct{}{}:
		return s.endScan, nil
	default:
	}
	select {
	case s.scans.waiting <- struct{}{}:
		defer func() { <-s.scans.waiting }()
	default:
		return nil, busy("too many questions wait to be answered")
	}
	late := time.NewTimer(scanPatience)
	defer late.Stop()
	select {
	case s.scans.places <- struct{}{}:
		return s.endScan, nil
	case <-late.C:
		return nil, busy("the questions before this one take too long to answer")
	case <-ctx.Done():
		return nil, busy("the client left while others were served")
	}
}

func (s *Server) endScan() { <-s.scans.places }

// busy is the error of a question that nobody has time for.
func busy(why string) error {
	return huma.ErrorWithHeaders(problem(http.StatusServiceUnavailable, why+"; ask again later"), http.Header{"Retry-After": {retryAfter}})
}
