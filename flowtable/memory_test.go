package flowtable

import (
	"fmt"
	"os"
	"testing"
)

// mappedPages is how many pages of address space the process has.
func mappedPages(t *testing.T) (pages int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		t.Fatal(err)
	}
	return pages
}

// What is mapped beyond the values that were asked for is given back with them.
func TestReleaseLeavesNothing(t *testing.T) {
	const (
		rounds = 1000
		size   = hugePage + 1
	)
	before := mappedPages(t)
	for range rounds {
		octets, err := Reserve[byte](size)
		if err != nil {
			t.Fatal(err)
		}
		if err := Release(octets); err != nil {
			t.Fatal(err)
		}
	}
	left := (mappedPages(t) - before) * os.Getpagesize()
	if most := rounds * (mappedSize(size) - size) / 2; left > most {
		t.Errorf("%d octets are still mapped of %d times %d", left, rounds, size)
	}
}
