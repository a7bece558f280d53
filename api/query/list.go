package query

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// list has the phases of connections one by one, each group's in chunks as
// large as all before it, the first for one. A chunk is where the one before it
// is, then the codes of its connections, two a word: each is written in as few
// stores as can be, which wait for the memory where many groups take turns.
type list struct {
	words []uint64 // memory of flowtable.Reserve; there is nothing at 0
	used  uint32
}

// wordsListed is what a connection takes.
const wordsListed = flowtable.Phases / 2

// chunkSize is the words of a chunk for n connections, and a few more: with powers
// of two the places that many groups write to next would fall on the same lines
// of the nearest cache.
func chunkSize(n uint32) uint32 { return 1 + wordsListed*n + n/32 }

// reset empties the list, and makes room for connections in as many groups;
// where fewer groups take more, it grows.
func (l *list) reset(connections uint64) error {
	l.used = 1
	return l.reserve(1 + uint64(chunkSize(1))*connections)
}

func (l *list) reserve(words uint64) error {
	if uint64(len(l.words)) >= words {
		return nil
	}
	if words > math.MaxUint32 {
		return errors.New("the phases of connections: too many groups; ask about fewer records, or group by a field of fewer values")
	}
	larger, err := flowtable.Reserve[uint64](words)
	if err != nil {
		return fmt.Errorf("the phases of connections: %w", err)
	}
	copy(larger, l.words[:min(int(l.used), len(l.words))])
	err = l.free()
	l.words = larger
	return err
}

func (l *list) free() error {
	words := l.words
	l.words = nil
	return flowtable.Release(words)
}

// add lists one connection more of a group.
func (l *list) add(c *cell, phases *[flowtable.Phases][history.Rows]history.Code, row uint16) error {
	if c.count&(c.count-1) == 0 { // all chunks are full
		if err := l.grow(c); err != nil {
			return err
		}
	}
	words := (*[wordsListed]uint64)(l.words[c.at+1+wordsListed*(c.count-chunkBefore(c.count)):])
	for i := range words {
		words[i] = uint64(phases[2*i][row]) | uint64(phases[2*i+1][row])<<32
	}
	c.count++
	return nil
}

// grow gives a group a chunk more.
func (l *list) grow(c *cell) error {
	size := chunkSize(max(c.count, 1))
	if need := uint64(l.used) + uint64(size); need > uint64(len(l.words)) {
		if err := l.reserve(2 * need); err != nil {
			return err
		}
	}
	l.words[l.used] = uint64(c.at)
	c.at = l.used
	l.used += size
	return nil
}

// chunkBefore is how many connections are in the chunks before that of number n.
func chunkBefore(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return 1 << (bits.Len32(n) - 1)
}

// phase writes a phase of all connections of a group, and returns how many there
// are.
func (l *list) phase(c *cell, phase uint32, to []history.Code) (n int) {
	chunk, end := c.at, c.count
	for end > 0 {
		before := chunkBefore(end - 1)
		words := l.words[chunk+1:][:wordsListed*(end-before)]
		for i := phase / 2; i < uint32(len(words)); i += wordsListed {
			to[n] = history.Code(words[i] >> (phase % 2 * 32))
			n++
		}
		chunk, end = uint32(l.words[chunk]), before
	}
	return n
}
