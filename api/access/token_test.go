package access

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testToken = "0123456789abcdef0123456789abcdef"

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "tokens"), text, 0o600)
}

func TestToken(t *testing.T) {
	file := tokenFile(t, "# of the dashboards\n\n"+testToken+"\nanother-token-of-others\n")
	s := newSite(t, Config{TokenFile: file, Public: func(r *http.Request) bool { return r.URL.Path == "/" }})
	const missing, wrong = `Bearer realm="finwait"`, `Bearer realm="finwait", error="invalid_token"`
	for _, c := range []struct {
		path, authorization string
		status              int
		challenge           string
	}{
		{"/question", "Bearer " + testToken, 200, ""},
		{"/question", "bearer another-token-of-others", 200, ""},
		{"/", "", 200, ""},
		{"/question", "", 401, missing},
		{"/question", "Basic dTpw", 401, missing},
		{"/question", "Bearer", 401, wrong},
		{"/question", "Bearer " + testToken[1:], 401, wrong},
		{"/question", "Bearer # of the dashboards", 401, wrong},
		{"//question", "", 401, missing},
		{"/nothing", "", 401, missing},
	} {
		answer, body := s.ask(c.path, "Authorization: "+c.authorization)
		if answer.StatusCode != c.status || answer.Header.Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s with %q: %s, challenge %q", c.path, c.authorization, answer.Status, answer.Header.Get("WWW-Authenticate"))
		}
		if c.status == 401 {
			checkProblem(t, answer, body)
		}
	}
	s.awaitRefused(tokenMissing, 4)
	s.awaitRefused(tokenWrong, 3)
}

// A token file that changes counts from the next second on; one that has become
// useless leaves the old tokens good, and is told.
func TestTokenFileChanges(t *testing.T) {
	file := tokenFile(t, testToken)
	s := newSite(t, Config{TokenFile: file})
	good := func(token string) bool {
		answer, _ := s.ask("/question", "Authorization: Bearer "+token)
		return answer.StatusCode == 200
	}
	if !good(testToken) {
		t.Fatal("the token is refused")
	}
	const next = "the-next-token-of-this-file"
	writeFile(t, file, next+"\n", 0o600)
	eventually(t, "next token", func() bool { return good(next) })
	if good(testToken) {
		t.Error("the token before is still good")
	}
	writeFile(t, file, "# none\n", 0o600)
	eventually(t, "warning", func() bool { return good(next) && s.said.contains("stay good") })
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "warning", func() bool { return good(next) && s.said.contains("no such file") })
	writeFile(t, file, testToken, 0o600)
	eventually(t, "first token", func() bool { return good(testToken) })
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	chain, key := pair(t, dir, "one")
	_, other := pair(t, dir, "two")
	for _, c := range []struct {
		name   string
		config Config
		says   string
	}{
		{"no token file", Config{TokenFile: missing}, "no such file"},
		{"empty token file", Config{TokenFile: tokenFile(t, "# nothing\n")}, "openssl rand"},
		{"short token", Config{TokenFile: tokenFile(t, testToken+"\nshort\n")}, "line 2 has 5 octets"},
		{"large token file", Config{TokenFile: tokenFile(t, strings.Repeat("x", maxTokenFile+1))}, "more than"},
		{"no certificate", Config{CertificateFile: missing, KeyFile: key}, "no such file"},
		{"certificate alone", Config{CertificateFile: chain}, "together"},
		{"key of another", Config{CertificateFile: chain, KeyFile: other}, "does not match"},
	} {
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

func TestWarnings(t *testing.T) {
	file := tokenFile(t, testToken)
	a, err := New(Config{TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if w := a.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %q", w)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if w := a.Warnings(); len(w) != 1 || !strings.Contains(w[0], file) || !strings.Contains(w[0], "0640") {
		t.Errorf("warnings: %q", w)
	}
}
