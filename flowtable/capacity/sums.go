package capacity

import "fmt"

// sums are what was sent, or what somebody counted of it.
type sums struct {
	connections, packets, octets, payload uint64
}

// expected is the sums of so many connections with handshakes and data.
func expected(connections, data uint64) sums {
	packets := 3*connections + data
	return sums{connections, packets, packets*headers + data*payload, data * payload}
}

// compare returns an error where got differs.
func (s sums) compare(who string, got sums) error {
	if got == s {
		return nil
	}
	return fmt.Errorf("%s counted %+v where %+v were sent: the figures would mean nothing", who, got, s)
}
