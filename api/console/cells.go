package console

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/finwait/finwait/api"
)

// none stands for what is not known, or not there.
const none = "-"

// clock is how times are written for people, in their own time zone.
const clock = "15:04:05.000"

func duration(ns *int64) string {
	if ns == nil {
		return none
	}
	return api.Duration(*ns)
}

// Size writes octets for people, in powers of 1000: three digits, cut off.
func Size(octets uint64) string {
	const units = "kMGTPE"
	if octets < 1000 {
		return strconv.FormatUint(octets, 10) + "B"
	}
	unit, whole := -1, octets
	divisor := uint64(1)
	for whole >= 1000 {
		divisor *= 1000
		whole = octets / divisor
		unit++
	}
	text := strconv.FormatUint(whole, 10)
	if tenths := octets / (divisor / 10) % 10; whole < 100 {
		text += "." + strconv.FormatUint(tenths, 10)
	}
	return text + units[unit:unit+1] + "B"
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}

// Endpoint is an address and a port as in a URL.
func Endpoint(address string, port uint16) string {
	return net.JoinHostPort(address, strconv.Itoa(int(port)))
}

// at writes a time of an answer; one that cannot be read stays as it is.
func at(text string) string {
	t := parsed(text)
	if t.IsZero() {
		return text
	}
	return t.Local().Format(clock)
}

// octets are those of both sides, by payload where nothing else is known.
func octets(f *api.Flow) string {
	if f.ClientBytes == nil || f.ServerBytes == nil {
		return Size(f.ClientPayloadBytes) + "/" + Size(f.ServerPayloadBytes)
	}
	return Size(*f.ClientBytes) + "/" + Size(*f.ServerBytes)
}

// parsed is a time of an answer, the zero time where it cannot be read.
func parsed(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Clean replaces control characters.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}
