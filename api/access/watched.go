package access

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// watchInterval is how often files are looked at, at most.
const watchInterval = time.Second

// watched tells when one of some files is another than before. It costs a
// stat(2) of each a second, and only while somebody asks.
type watched struct {
	paths []string

	mu   sync.Mutex
	next time.Time
	seen []stamp
}

// stamp is what changes with a file's content or when its name is given to
// another one; the zero value is a file that cannot be looked at.
type stamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

func newWatched(paths ...string) *watched {
	w := &watched{paths: paths}
	w.seen = w.stamps()
	return w
}

// changed tells whether the files are others than at the last call that said
// so. What is read after it is at least as new.
func (w *watched) changed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Before(w.next) {
		return false
	}
	w.next = now.Add(watchInterval)
	stamps := w.stamps()
	changed := false
	for i := range stamps {
		changed = changed || stamps[i] != w.seen[i]
	}
	w.seen = stamps
	return changed
}

func (w *watched) stamps() []stamp {
	stamps := make([]stamp, len(w.paths))
	for i, path := range w.paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		stamps[i] = stamp{size: info.Size(), modified: info.ModTime()}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			stamps[i].inode = s.Ino
		}
	}
	return stamps
}

// othersMayRead tells whether a file's mode lets its group or everybody read
// it; false where it cannot be looked at.
func othersMayRead(path string) (os.FileMode, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	mode := info.Mode().Perm()
	return mode, mode&0o044 != 0
}
