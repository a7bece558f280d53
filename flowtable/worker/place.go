package worker

import (
	"runtime"
	"sync"
)

// places is held while GOMAXPROCS is changed.
var places sync.Mutex

// takePlace makes room for the calling goroutine beside those that run Go code at
// once: a worker keeps its place while it sleeps, and would keep others from the
// CPU that it does not use. leave gives it back.
func takePlace() (leave func()) {
	changePlaces(1)
	return func() { changePlaces(-1) }
}

func changePlaces(by int) {
	places.Lock()
	defer places.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + by)
}
