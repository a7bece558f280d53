package dashboard

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func newPage(t *testing.T) (*Page, http.Handler) {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.Register(mux)
	return p, mux
}

func request(t *testing.T, h http.Handler, method, url string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Everything that is embedded is served as what it is, under headers that keep
// the page to its own server.
func TestServed(t *testing.T) {
	p, h := newPage(t)
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	if len(p.Paths()) < 10 {
		t.Fatalf("the page consists of %v", p.Paths())
	}
	for _, url := range p.Paths() {
		want := types[path.Ext(url)]
		if url == "/" {
			want = "text/html; charset=utf-8"
		}
		r := request(t, h, http.MethodGet, url, nil)
		text := body(t, r)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != want || text == "" {
			t.Errorf("%s: %s, %q, %d octets", url, r.Status, r.Header.Get("Content-Type"), len(text))
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": ContentSecurityPolicy, "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", url, name, got)
			}
		}
		head := request(t, h, http.MethodHead, url, nil)
		if head.StatusCode != http.StatusOK || body(t, head) != "" || head.ContentLength != r.ContentLength {
			t.Errorf("%s: HEAD answers %s with %d octets", url, head.Status, head.ContentLength)
		}
	}
	if !slices.IsSorted(p.Paths()) || !slices.Contains(p.Paths(), "/page/waves.js") {
		t.Errorf("paths: %v", p.Paths())
	}
}

// A browser that has a file is told that it is still the same, and of another
// one that it is not.
func TestNotModified(t *testing.T) {
	p, h := newPage(t)
	tags := map[string]string{}
	for _, url := range p.Paths() {
		tag := request(t, h, http.MethodGet, url, nil).Header.Get("ETag")
		if other, twice := tags[tag]; twice {
			t.Errorf("%s and %s have one tag, %s", url, other, tag)
		}
		tags[tag] = url
		if r := request(t, h, http.MethodGet, url, http.Header{"If-None-Match": {tag}}); r.StatusCode != http.StatusNotModified || body(t, r) != "" {
			t.Errorf("%s: %s for its own tag %s", url, r.Status, tag)
		}
		if r := request(t, h, http.MethodGet, url, http.Header{"If-None-Match": {`"another"`}}); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s for another tag", url, r.Status)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	_, h := newPage(t)
	for _, url := range []string{"/page/", "/page/index.html", "/page/none.js", "/assets/index.html", "/page/..%2fdashboard.go", "/index.html"} {
		if r := request(t, h, http.MethodGet, url, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", url, r.Status)
		}
	}
	if r := request(t, h, http.MethodPost, "/", nil); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", r.Status)
	}
}

func TestPolicyIsStrict(t *testing.T) {
	if !strings.HasPrefix(ContentSecurityPolicy, "default-src 'none';") {
		t.Errorf("what is not named is let through: %s", ContentSecurityPolicy)
	}
	for _, source := range strings.FieldsFunc(ContentSecurityPolicy, func(r rune) bool { return r == ' ' || r == ';' }) {
		if strings.HasPrefix(source, "'") && source != "'none'" && source != "'self'" || strings.ContainsAny(source, "*:") {
			t.Errorf("source %s", source)
		}
	}
}

var (
	reference   = regexp.MustCompile(`(?:src|href)="([^"#?]+)`)
	importation = regexp.MustCompile(`(?:from|import)\s*\(?\s*"([^"]+)"`)
	inline      = regexp.MustCompile(`(?i)<style|<script(?:[^>]*)>[^<]|\sstyle=|\son[a-z]+="|javascript:`)
	external    = regexp.MustCompile(`(?i)(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}|url\(|@import`)
	namespaces  = regexp.MustCompile(`http://www\.w3\.org/(?:2000/svg|1999/xlink)`)
)

// The page's files refer to each other, to the API, and to nothing else; every
// one is referred to; and nothing in them needs a policy that is less strict.
func TestReferences(t *testing.T) {
	p, _ := newPage(t)
	used := map[string]bool{"/": true}
	for url, file := range p.files {
		text := string(file.content)
		var found []string
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			found = append(found, m[1])
		}
		if path.Ext(file.name) == ".js" {
			for _, m := range importation.FindAllStringSubmatch(text, -1) {
				found = append(found, path.Join(prefix, m[1]))
			}
		}
		for _, to := range found {
			if _, there := p.files[to]; !there && to != "/openapi.json" {
				t.Errorf("%s refers to %q, which is not there", url, to)
			}
			used[to] = true
		}
		if outside := external.FindString(namespaces.ReplaceAllString(text, "")); outside != "" {
			t.Errorf("%s has %q", url, outside)
		}
		if path.Ext(file.name) == ".html" && inline.MatchString(text) {
			t.Errorf("%s has %q", url, inline.FindString(text))
		}
		if strings.Contains(text, "innerHTML") || strings.Contains(text, "eval(") {
			t.Errorf("%s makes markup or code of text", url)
		}
	}
	for _, url := range p.Paths() {
		if !used[url] {
			t.Errorf("nothing refers to %s", url)
		}
	}
}

// Every id that a script asks for is in the page, or made by a script.
func TestIDs(t *testing.T) {
	p, _ := newPage(t)
	made := regexp.MustCompile(`\bid(?:="|: ")([a-z-]+)"`)
	asked := regexp.MustCompile(`(?:byId\(|getElementById\(|aria-labelledby="|aria-labelledby": |for=)"?([a-z-]+)"`)
	ids := map[string]bool{}
	for _, file := range p.files {
		for _, m := range made.FindAllSubmatch(file.content, -1) {
			ids[string(m[1])] = true
		}
	}
	for url, file := range p.files {
		for _, m := range asked.FindAllSubmatch(file.content, -1) {
			if !ids[string(m[1])] {
				t.Errorf("%s asks for id %q", url, m[1])
			}
		}
	}
}
