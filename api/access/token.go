package access

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
)

const (
	// minToken is the fewest octets of a token: what is shorter can be guessed.
	minToken = 16
	// maxTokenFile bounds what is read.
	maxTokenFile = 64 << 10
)

// digest stands for a token, so that comparing takes the same time whatever
// its length.
type digest = [sha256.Size]byte

// tokens are those of a file: one a line, of which any is good, so that one can
// be replaced by another without a gap. Empty lines and those that begin with #
// are passed over.
type tokens struct {
	path    string
	file    *watched
	digests atomic.Pointer[[]digest]
	report  func(line string)
}

func newTokens(path string, report func(string)) (*tokens, error) {
	t := &tokens{path: path, file: newWatched(path), report: report}
	digests, err := readTokens(path)
	if err != nil {
		return nil, err
	}
	t.digests.Store(&digests)
	return t, nil
}

func readTokens(path string) ([]digest, error) {
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("token file: %w", err)
	case len(text) > maxTokenFile:
		return nil, fmt.Errorf("token file %q: %d octets are more than the %d that are read", path, len(text), maxTokenFile)
	}
	var digests []digest
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
		case len(line) < minToken:
			return nil, fmt.Errorf("token file %q: line %d has %d octets; a token has at least %d, such as 'openssl rand -hex 32' makes", path, number, len(line), minToken)
		default:
			digests = append(digests, sha256.Sum256(line))
		}
	}
	if len(digests) == 0 {
		return nil, fmt.Errorf("token file %q: no token; write one a line, such as 'openssl rand -hex 32' makes", path)
	}
	return digests, nil
}

// check returns why a request may not pass, nil where it may. Where the file
// has changed into something without tokens, the old ones stay good.
func (t *tokens) check(r *http.Request) *denial {
	if t.file.changed() {
		t.reload()
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return &denial{tokenMissing, http.StatusUnauthorized, "a token is needed: send it as 'Authorization: Bearer TOKEN'"}
	}
	sent := sha256.Sum256([]byte(strings.TrimSpace(token)))
	good := 0
	for _, d := range *t.digests.Load() {
		good |= subtle.ConstantTimeCompare(d[:], sent[:])
	}
	if good == 0 {
		return &denial{tokenWrong, http.StatusUnauthorized, "the token is not one of this appliance's"}
	}
	return nil
}

func (t *tokens) reload() {
	digests, err := readTokens(t.path)
	if err != nil {
		t.report(fmt.Sprintf("warning: %v; the tokens from before stay good", err))
		return
	}
	t.digests.Store(&digests)
	t.report(fmt.Sprintf("token file %q: read again, tokens: %d", t.path, len(digests)))
}
