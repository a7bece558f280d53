//go:build interop

package dashboard_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api/dashboard/browser"
	"github.com/finwait/finwait/flowtable"
)

const (
	streamed    = `document.querySelector(".table-bar [role=status]").textContent.includes("as they end")`
	newestPort  = `document.querySelector('#flows .body [data-index="0"] .client')?.textContent.split(":")[1]`
	becomesSeen = `(Object.defineProperty(document, "hidden", { configurable: true, get: () => %t }), document.dispatchEvent(new Event("visibilitychange")))`
)

// refusals are connections that were refused, of clients' ports from first on.
func refusals(first, n int) []flowtable.Record {
	list := make([]flowtable.Record, 0, n)
	for port := first; port < first+n; port++ {
		list = append(list, connection(uint64(port), flowtable.Refused, moments{flowtable.SYNAt: 0, flowtable.RSTAt: ms}, func(r *flowtable.Record) {
			reset(flowtable.Server, flowtable.Server)(r)
			r.Client.Port = uint16(port)
		}))
	}
	return list
}

// asked is how often the page asked for a path, with a filter.
func asked(tab *browser.Tab, path, filter string) int {
	n := 0
	for _, r := range tab.Requests() {
		if strings.Contains(r.URL, path) && strings.Contains(r.URL, filter) {
			n++
		}
	}
	return n
}

// awaitStreams waits until so many are served.
func awaitStreams(t *testing.T, s *site, want int64) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.streams.Load() != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d streams are served, want %d", s.streams.Load(), want)
		}
	}
}

func newestIs(port int) string { return newestPort + " === " + strconv.Quote(strconv.Itoa(port)) }

// Records come by the stream alone, and other filters have another stream.
func testStreamed(t *testing.T, tab *browser.Tab) {
	s := newSite(t, refusals(1000, 1)...)
	s.token = "the right one"
	tab.Go(s.URL)
	tab.Await(`document.querySelector("#access").open`)
	tab.Press(s.token + "\r")
	tab.Await(streamed)
	before := asked(tab, "/v1/flows", "")
	for i := range 8 {
		s.write(t, refusals(1001+i, 1)...)
		tab.Await(newestIs(1001 + i))
	}
	rounds := asked(tab, "/v1/teardown", "")
	browser.Value[bool](tab, `document.dispatchEvent(new Event("visibilitychange"))`) // all is asked at once
	for end := time.Now().Add(20 * time.Second); asked(tab, "/v1/teardown", "") < rounds+2 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := asked(tab, "/v1/flows", "") - before; n > 0 || asked(tab, "/v1/teardown", "") < rounds+2 {
		t.Errorf("the table was asked for %d times beside its stream", n)
	}
	tab.Await(rowsAre(9))
	browser.Value[bool](tab, `(() => {
		const select = document.querySelector("#filter-close_kind");
		select.value = "reset";
		return select.dispatchEvent(new Event("change", { bubbles: true }));
	})()`)
	tab.Await(rowsAre(0) + " && " + streamed)
	awaitStreams(t, s, 1)
	if n := asked(tab, "/v1/stream", "close_kind=reset"); n != 1 {
		t.Errorf("%d streams of the new filter were asked for", n)
	}
	k := records(everyKind())[3]
	s.write(t, append(refusals(1100, 1), k)...)
	tab.Await(rowsAre(1) + " && " + newestIs(int(k.Client.Port)))
	browser.Value[bool](tab, `(document.querySelector('.head-row a[href*="close_wait"]').click(), true)`)
	awaitStreams(t, s, 0) // the longest are not the newest
}

// What the reader looks at stays where it is while records come in front of it.
func testScrolled(t *testing.T, tab *browser.Tab) {
	s := newSite(t, refusals(1000, 300)...)
	tab.Go(s.URL + "/?limit=1000")
	tab.Await(streamed)
	browser.Value[bool](tab, `(document.querySelector(".scroller").scrollTop = 100 * 33, true)`)
	tab.Await(`document.querySelector('#flows .body [data-index="105"]')`)
	browser.Value[bool](tab, `((window.row = document.querySelector('#flows .body [data-index="105"]')), (window.y = row.getBoundingClientRect().top), true)`)
	s.write(t, refusals(2000, 200)...) // more than are in the document
	tab.Await(`document.querySelector(".flow-table").getAttribute("aria-rowcount") === "501"`)
	if !browser.Value[bool](tab, `row.isConnected && row.dataset.index === "305" && row.ariaRowIndex === "307" && Math.abs(row.getBoundingClientRect().top - y) < 1`) {
		t.Error("the row moved: " + browser.Value[string](tab, `JSON.stringify([row.isConnected, row.dataset.index, row.ariaRowIndex, y, row.getBoundingClientRect().top])`))
	}
	indices := `[...document.querySelectorAll("#flows .body [role=row]")].map((r) => Number(r.dataset.index))`
	if !browser.Value[bool](tab, indices+`.every((n, i, all) => i === 0 || n === all[i - 1] + 1)`) {
		t.Error("the rows are out of order")
	}
	tab.Check(s.URL)
}

// Nobody looks: there is no stream. Seen again, what came meanwhile is there, and the
// focus is on the row where it was.
func testUnseen(t *testing.T, tab *browser.Tab) {
	s := newSite(t, refusals(1000, 1)...)
	tab.Go(s.URL)
	tab.Await(streamed)
	awaitStreams(t, s, 1)
	browser.Value[bool](tab, `(document.querySelector("#flows .body a").focus(), true)`)
	browser.Value[bool](tab, strings.Replace(becomesSeen, "%t", "true", 1))
	awaitStreams(t, s, 0)
	s.write(t, refusals(1001, 40)...)
	before := asked(tab, "/v1/flows", "")
	browser.Value[bool](tab, strings.Replace(becomesSeen, "%t", "false", 1))
	tab.Await(newestIs(1040) + " && " + streamed)
	if n := asked(tab, "/v1/flows", "") - before; n != 1 {
		t.Errorf("the table was asked for %d times to catch up", n)
	}
	if row := browser.Value[string](tab, `document.activeElement.closest("[data-index]")?.textContent ?? ""`); !strings.Contains(row, "192.0.2.1:1000192") {
		t.Errorf("the focus is on %q", row)
	}
	s.write(t, refusals(1041, 1)...)
	tab.Await(newestIs(1041))
	tab.Check(s.URL)
}

// Records that are overwritten before the stream has them are told of.
func testTooFast(t *testing.T, tab *browser.Tab) {
	s := newSite(t, refusals(1000, 1)...)
	tab.Go(s.URL)
	tab.Await(streamed)
	s.write(t, refusals(1, 60000)...) // three times what is kept
	tab.Await(`/^[\d,]+ records went by too fast for this page\.$/.test(document.querySelector("#missed:not([hidden])")?.textContent)`)
	tab.Await(newestIs(60000))
	tab.Await(`document.querySelector(".flow-table").getAttribute("aria-rowcount") === "101"`)
	tab.Check(s.URL)
}

// Without a stream the table is asked for, and with one again once it is to be had.
func testWithoutStream(t *testing.T, tab *browser.Tab) {
	s := newSite(t, refusals(1000, 1)...)
	s.refusing.Store(true)
	tab.Go(s.URL)
	tab.Await(newestIs(1000))
	s.write(t, refusals(1001, 1)...)
	tab.Await(newestIs(1001))
	if browser.Value[bool](tab, streamed) || !browser.Value[bool](tab, `document.querySelector("#gone").hidden && document.querySelector("#problem").hidden`) {
		t.Error("the page does not say that it asks")
	}
	s.refusing.Store(false)
	tab.Await(streamed)
	s.refusing.Store(true)
	(*s.cutStream.Load())() // it ends
	awaitStreams(t, s, 0)
	s.write(t, refusals(1002, 1)...)
	tab.Await(newestIs(1002) + " && !" + streamed)
}

// What the pointer is about to choose stays under it; a question of the reader's
// own is answered at once all the same. Fingers do not hover.
func testHovered(t *testing.T, tab *browser.Tab) {
	s := newSite(t, refusals(1000, 5)...)
	tab.Go(s.URL)
	tab.Await(streamed + " && " + rowsAre(5))
	if !browser.Value[bool](tab, `matchMedia("(hover: hover)").matches`) {
		t.Fatal("this browser has no pointer that hovers")
	}
	tab.Point(`#flows .body [data-index="2"] .client`)
	tab.Await(`document.querySelector("#flows .body").matches(":hover")`)
	s.write(t, refusals(1005, 1)...)
	time.Sleep(time.Second) // several times what lies between two drawings
	if newest := browser.Value[string](tab, newestPort); newest != "1004" {
		t.Errorf("under the pointer %s came in front", newest)
	}
	tab.Point("#appliance")
	tab.Await(newestIs(1005) + " && " + rowsAre(6))
	tab.Point(`#flows .body [data-index="2"] .client`)
	tab.Await(`document.querySelector("#flows .body").matches(":hover")`)
	browser.Value[bool](tab, `(() => {
		const input = document.querySelector("#filter-client");
		input.value = "192.0.2.1";
		return input.dispatchEvent(new Event("change", { bubbles: true }));
	})()`)
	s.write(t, refusals(1006, 1)...)
	tab.Await(`location.search === "?client=192.0.2.1" && ` + streamed + " && " + newestIs(1006))
	tab.Touches()
	s.write(t, refusals(1007, 1)...)
	tab.Await(newestIs(1007))
	tab.Check(s.URL)
}

// An answer that is still on its way when the reader asks something else is not waited
// for, and not shown.
func testGivenUp(t *testing.T, tab *browser.Tab) {
	s := knownSite(t)
	s.holding.Store(true)
	tab.Go(s.URL + "/?close_kind=reset")
	for end := time.Now().Add(20 * time.Second); asked(tab, "/v1/flows", "close_kind=reset") == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	browser.Value[bool](tab, `(() => {
		const select = document.querySelector("#filter-close_kind");
		select.value = "refused";
		return select.dispatchEvent(new Event("change", { bubbles: true }));
	})()`)
	tab.Await(rowsAre(1) + ` && document.querySelector("#flows .kind-name").textContent === "refused"`)
	for end := time.Now().Add(10 * time.Second); s.givenUp.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) { // before the page's own patience ends
			t.Fatal("the page still waits for what nobody asks any more")
		}
	}
	tab.Check(s.URL)
}

// A stream that breaks is followed by a question at once, not by the next round's.
func testCutOff(t *testing.T, tab *browser.Tab) {
	s := newSite(t, refusals(1000, 1)...)
	tab.Go(s.URL)
	tab.Await(streamed)
	before := asked(tab, "/v1/status", "")
	browser.Value[bool](tab, `((real) => (window.setTimeout = (call, ms) => (ms === 5000 ? 0 : real(call, ms)), true))(window.setTimeout)`) // no round comes by itself
	for end := time.Now().Add(20 * time.Second); asked(tab, "/v1/status", "") == before && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the one that was due
	}
	tab.Await(`document.querySelector("#live").textContent === "Live"`)
	(*s.cutStream.Load())()
	s.write(t, refusals(1001, 1)...)
	tab.Await(newestIs(1001))
	tab.Check(s.URL)
}
