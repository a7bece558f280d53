// Package dashboard is the appliance's web page: HTML, CSS and ES modules as
// they stand in assets, embedded, without a build step. The page asks the HTTP
// API of the server that it came from, and nobody else.
//
// A Page is immutable once made; its handlers may be used from any goroutine.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// ContentSecurityPolicy lets the page load and ask what its own server has, and
// nothing else: no inline script or style, no other origin, no frame around it.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// prefix is where everything but the page itself is found.
const prefix = "/page/"

//go:embed assets
var assets embed.FS

// contentTypes of the assets, by the ends of their names. (Those of package
// mime depend on the machine.)
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one file as it is served.
type asset struct {
	name, contentType, tag string
	content                []byte
}

// Page is what the server has of the page, by URL path.
type Page struct{ files map[string]asset }

// New reads what is embedded. The error names a file that cannot be served.
func New() (*Page, error) {
	p := &Page{files: make(map[string]asset)}
	err := fs.WalkDir(assets, "assets", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := assets.ReadFile(file)
		if err != nil {
			return err
		}
		contentType, known := contentTypes[path.Ext(file)]
		if !known {
			return fmt.Errorf("page: no content type is known for %q", file)
		}
		sum := sha256.Sum256(content)
		name := strings.TrimPrefix(file, "assets/")
		url := prefix + name
		if name == "index.html" {
			url = "/"
		}
		p.files[url] = asset{name, contentType, `"` + hex.EncodeToString(sum[:12]) + `"`, content}
		return nil
	})
	return p, err
}

// Paths are the URL paths that the page consists of, in their order. They hold
// nothing of the appliance's data, and need no token.
func (p *Page) Paths() []string {
	list := make([]string, 0, len(p.files))
	for url := range p.files {
		list = append(list, url)
	}
	slices.Sort(list)
	return list
}

// Register makes mux answer GET and HEAD on every path of the page.
func (p *Page) Register(mux *http.ServeMux) {
	for url, file := range p.files {
		if url == "/" {
			url = "/{$}"
		}
		mux.Handle("GET "+url, file)
	}
}

// ServeHTTP answers with the file; a browser keeps it, and asks each time
// whether it is still the same, so that a new version shows at once.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.tag)
	h.Set("Content-Security-Policy", ContentSecurityPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.content))
}
