package gateway

import (
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

// claim says that what bears its token belongs to a process that lives: a socket of
// an abstract name (unix(7)), which is its namespace's alone, and which the kernel
// closes at once when the process ends.
type claim struct {
	token string
	fd    int
}

func newClaim() (*claim, error) {
	c := &claim{token: fmt.Sprintf("%08x", rand.Uint32())}
	var err error
	if c.fd, err = bindClaim(c.token); err != nil {
		return nil, fmt.Errorf("claim the name %q: %w", c.token, err)
	}
	return c, nil
}

// isClaimed tells whether the owner of a token lives.
func isClaimed(token string) bool {
	fd, err := bindClaim(token)
	if err != nil {
		return true
	}
	_ = unix.Close(fd)
	return false
}

func bindClaim(token string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@finwait-gateway-" + token}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (c *claim) close() error { return unix.Close(c.fd) }
