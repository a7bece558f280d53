//go:build interop

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait for something that must happen; how long it takes
// decides nothing.
const patience = 30 * time.Second

// Browser is a Chromium without a window.
type Browser struct{ ctx context.Context }

// Start starts Chromium until the test ends. It must be installed.
func Start(t *testing.T) *Browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.DisableGPU, chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("blink-settings", "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4")) // a mouse, which a machine without a screen has not
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to have one as root
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closeBrowser := chromedp.NewContext(ctx)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium (Debian's package chromium): %v", err)
	}
	return &Browser{ctx}
}

// Tab is one page with a storage of its own.
type Tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	requests   []*network.Request
}

// Open opens an empty tab of a size in px, until the test ends.
func (b *Browser) Open(t *testing.T, width, height int64) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(closeTab)
	tab := &Tab{t: t, ctx: ctx}
	// The first call makes the tab, which then lives as long as its context.
	if err := chromedp.Listen(ctx, tab.note); err != nil {
		t.Fatal(err)
	}
	call(tab, network.Enable, network.EnableParams{})
	call(tab, log.Enable, cdp.Empty{})
	tab.Resize(width, height, 1)
	return tab
}

// call sends a command of the protocol.
func call[P, R any](tab *Tab, command cdp.Command[P, R], params P) R {
	tab.t.Helper()
	return run(tab, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, command, params)
	})
}

// run runs an action and fails the test where it fails or takes too long.
func run[T any](tab *Tab, action chromedp.Action[T]) T {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		tab.t.Fatal(err)
	}
	return value
}

func (tab *Tab) note(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		tab.complaints = append(tab.complaints, exceptionText(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		text := "console." + string(e.Type) // the page itself writes nothing there
		for _, argument := range e.Args {
			text += " " + string(argument.Value) + argument.Description
		}
		tab.complaints = append(tab.complaints, text)
	case *log.EventEntryAdded:
		tab.complaints = append(tab.complaints, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		tab.requests = append(tab.requests, e.Request)
	}
}

func exceptionText(e *runtime.ExceptionDetails) string {
	text := fmt.Sprintf("%s at %s:%d", e.Text, e.URL, e.LineNumber+1)
	if e.Exception != nil {
		text += ": " + e.Exception.Description
	}
	return text
}

// Complaints are exceptions, errors and warnings since the last call.
func (tab *Tab) Complaints() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	list := tab.complaints
	tab.complaints = nil
	return list
}

// Requests are those that the page made so far.
func (tab *Tab) Requests() []*network.Request {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return append([]*network.Request(nil), tab.requests...)
}

// Check fails the test where the page complained, or asked anybody but origin.
func (tab *Tab) Check(origin string) {
	tab.t.Helper()
	for _, complaint := range tab.Complaints() {
		tab.t.Errorf("the page complains: %s", complaint)
	}
	requests := tab.Requests()
	if len(requests) == 0 {
		tab.t.Error("no request was seen")
	}
	for _, r := range requests {
		if u, err := url.Parse(r.URL); err != nil || u.Scheme+"://"+u.Host != origin {
			tab.t.Errorf("the page asks for %s, which is not of %s", r.URL, origin)
		}
	}
}

// Go opens a URL and waits until the page is loaded.
func (tab *Tab) Go(url string) {
	tab.t.Helper()
	run(tab, chromedp.Navigate(url))
}

// Value is what an expression of the page's language is, or resolves to.
func Value[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tab.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// Await waits until an expression is true.
func (tab *Tab) Await(expression string) {
	tab.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if Value[bool](tab, "Boolean("+expression+")") {
			return
		}
		if time.Now().After(end) {
			tab.t.Fatalf("not within %v: %s\n%s", patience, expression, Value[string](tab, "document.body.innerText.slice(0, 2000)"))
		}
	}
}

// Texts are those of all elements that a selector finds.
func (tab *Tab) Texts(selector string) []string {
	tab.t.Helper()
	return Value[[]string](tab, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.textContent.trim())", selector))
}

// Text is that of the first element that a selector finds, "" without one.
func (tab *Tab) Text(selector string) string {
	tab.t.Helper()
	return Value[string](tab, fmt.Sprintf("document.querySelector(%q)?.textContent.trim() ?? ''", selector))
}

// Press sends keys as a keyboard does; package chromedp/kb names those without
// a character.
func (tab *Tab) Press(keys string) {
	tab.t.Helper()
	run(tab, chromedp.KeyEvent(keys))
}

// Point brings the first element that a selector finds into view, and moves the
// pointer to its middle.
func (tab *Tab) Point(selector string) {
	tab.t.Helper()
	at := Value[[2]float64](tab, fmt.Sprintf(`((element) => {
		element.scrollIntoView({ block: "center", behavior: "instant" });
		const box = element.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})(document.querySelector(%q))`, selector))
	run(tab, chromedp.MouseEvent(chromedp.MouseMoved, at[0], at[1]))
}

// Touches makes the tab one of a device that is touched: its pointer does not hover.
func (tab *Tab) Touches() {
	tab.t.Helper()
	call(tab, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
}

// Prefer makes the tab's system prefer something, as prefers-color-scheme dark.
func (tab *Tab) Prefer(feature, value string) {
	tab.t.Helper()
	call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: feature, Value: value}}})
}

// Resize changes the tab's size in px, and how many dots a px has.
func (tab *Tab) Resize(width, height int64, dots float64) {
	tab.t.Helper()
	run(tab, chromedp.EmulateViewport(width, height, chromedp.EmulateScale(dots)))
}

// Picture is what the tab shows, as PNG.
func (tab *Tab) Picture() []byte {
	tab.t.Helper()
	return run(tab, chromedp.CaptureScreenshot())
}

// Accessible is one element as assistive technology has it.
type Accessible struct{ Role, Name string }

// Accessibles are all elements that assistive technology does not pass over.
func (tab *Tab) Accessibles() []Accessible {
	tab.t.Helper()
	var list []Accessible
	for _, node := range call(tab, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if !node.Ignored {
			list = append(list, Accessible{text(node.Role), text(node.Name)})
		}
	}
	return list
}

func text(value *accessibility.Value) string {
	if value == nil {
		return ""
	}
	var s string
	if json.Unmarshal(value.Value, &s) != nil {
		return string(value.Value) // no string
	}
	return s
}
