package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/pcap"
)

func FuzzClassic(f *testing.F) {
	for _, o := range orders {
		for _, c := range []classicFile{classicMicro(o), classicNano(o)} {
			file, ends := c.write(frames(3))
			f.Add(file)
			f.Add(file[:ends[2]+9])
			c.magic, c.more = 0xa1b2cd34, 8
			file, _ = c.write(frames(3))
			f.Add(file)
			f.Add(gzipped(f, file))
		}
	}
	f.Fuzz(checkAnyFile)
}

func FuzzNG(f *testing.F) {
	file, ends := everyBlock()
	f.Add(file)
	f.Add(file[:ends[5]])
	f.Add(file[:ends[5]+13])
	f.Add(gzipped(f, file))
	big, _ := ngOf(binary.BigEndian, frames(3))
	f.Add(big)
	f.Fuzz(checkAnyFile)
}

// checkAnyFile holds what is true of every file, a capture or not: how
// reading ends, that the counts add up, and that neither the size of the
// batch nor the reader's habits nor a mapping change what is read.
func checkAnyFile(t *testing.T, file []byte) {
	checkMapped(t, file)
	s, err := pcap.NewSource(bytes.NewReader(file), "test", testIndex)
	if err != nil {
		checkError(t, err)
		return
	}
	got, err := drain(s, 64)
	checkError(t, err)

	counts := s.Counts()
	sum := counts.UnsupportedLink
	for _, n := range counts.Outcomes {
		sum += n
	}
	if counts.Packets != sum || counts.Outcomes[segment.TCP] != uint64(len(got)) {
		t.Errorf("%d segments, and counts that do not add up: %+v", len(got), counts)
	}
	for _, one := range got {
		one.Own, one.Other = segment.Direction{Marks: one.Own.Marks}, segment.Direction{}
		if one.Interface != testIndex || one.Marks != 0 || one.Own != (segment.Direction{}) {
			t.Fatalf("segment %+v", one)
		}
	}

	slow, slowErr := pcap.NewSource(iotest.OneByteReader(bytes.NewReader(file)), "test", testIndex)
	if slowErr != nil {
		t.Fatalf("octet by octet: %v", slowErr)
	}
	again, slowErr := drain(slow, 1)
	if !slices.Equal(got, again) || slow.Counts() != counts || slowErr.Error() != err.Error() {
		t.Errorf("octet by octet: %d segments, %+v, %v\nat once: %d segments, %+v, %v",
			len(again), slow.Counts(), slowErr, len(got), counts, err)
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var (
		damaged *pcap.DamagedError
		format  *pcap.FormatError
		link    *pcap.LinkTypeError
	)
	if !errors.Is(err, io.EOF) && !errors.As(err, &damaged) && !errors.As(err, &format) && !errors.As(err, &link) {
		t.Fatalf("an error of no kind: %v", err)
	}
}
