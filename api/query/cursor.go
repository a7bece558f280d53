package query

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
)

// ErrCursor is a cursor that no answer of this question gave.
var ErrCursor = errors.New("not a cursor of this question; give next_cursor as it was, with the same filters and sort")

// ErrGone is a cursor whose records are no longer kept.
var ErrGone = errors.New("the records after this cursor are no longer kept; begin again without it")

// cursor is where a page ended.
type cursor struct {
	question    uint64 // hash of its text
	history     uint64 // its ID
	first, last uint64 // the positions that the first page asked about, last not included
	end         ranked // the last connection of the page; its id is its position
}

const cursorVersion = 1

// hashQuestion tells questions apart.
func hashQuestion(f *Filter, o *Order) uint64 {
	h := fnv.New64a()
	// A hash takes everything.
	_, _ = h.Write([]byte(f.Text + "\x00" + o.Text))
	return h.Sum64()
}

func (c *cursor) String() string {
	b := []byte{cursorVersion}
	for _, n := range []uint64{c.question, c.history, c.first, c.last, c.end.id, uint64(c.end.value)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	if c.end.known {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(text string) (c cursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != 1+6*8+1 || b[0] != cursorVersion || b[len(b)-1] > 1 {
		return c, ErrCursor
	}
	var value uint64
	for i, n := range []*uint64{&c.question, &c.history, &c.first, &c.last, &c.end.id, &value} {
		*n = binary.LittleEndian.Uint64(b[1+8*i:])
	}
	c.end.value, c.end.known = int64(value), b[len(b)-1] == 1
	if c.first > c.last || c.end.id < c.first || c.end.id >= c.last {
		return c, ErrCursor
	}
	return c, nil
}
