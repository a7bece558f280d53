//go:build !(amd64 || arm64) || race

package flowtable

import "sync/atomic"

func addAlone(number *atomic.Uint64, n uint64) { number.Add(n) }
