//go:build interop

package dashboard_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/finwait/finwait/api/dashboard/browser"
	"github.com/finwait/finwait/flowtable"
)

// loaded waits until the page shows what it asked for.
func loaded(tab *browser.Tab) {
	for _, part := range []string{
		`document.querySelector("#ledger .facts")`, `document.querySelector(".table-bar [role=status]").textContent !== ""`,
		`document.querySelector("#kinds > *")`, `document.querySelector("#waiting > *")`, `document.querySelectorAll(".chart .axes").length === 6`,
	} {
		tab.Await(part)
	}
}

// rows is how many are in the document, rowsAre that it is so many.
const rows = `document.querySelectorAll("#flows .body [role=row]").length`

func rowsAre(n int) string { return rows + " === " + strconv.Itoa(n) }

// The page's modules compute what they must, in the browser they are made for.
func TestInteropModules(t *testing.T) {
	s := newSite(t)
	tab := browser.Start(t).Open(t, 1400, 1000)
	tab.Go(s.URL)
	loaded(tab)
	result := browser.Value[struct {
		Ran      int
		Failures []string
	}](tab, `import("/test/all.js").then((cases) => cases.run())`)
	for _, failure := range result.Failures {
		t.Error(failure)
	}
	if result.Ran < 50 {
		t.Errorf("only %d cases ran", result.Ran)
	}
	tab.Check(s.URL)
}

func TestInteropPage(t *testing.T) {
	b := browser.Start(t)
	s := knownSite(t)
	shared := func(test func(*testing.T, *site, *browser.Tab)) func(*testing.T, *browser.Tab) {
		return func(t *testing.T, tab *browser.Tab) { test(t, s, tab) }
	}
	for _, test := range []struct {
		name          string
		width, height int64
		run           func(*testing.T, *browser.Tab)
	}{
		{"shows", 1400, 1000, shared(testShows)},
		{"filters", 1400, 1000, shared(testFilters)},
		{"diagrams", 1400, 1000, shared(testDiagrams)},
		{"keyboard", 1400, 1000, shared(testKeyboard)},
		{"dark", 1400, 1000, shared(testDark)},
		{"narrow", 390, 844, shared(testNarrow)},
		{"accessible", 1400, 1000, shared(testAccessible)},
		// These have appliances of their own.
		{"loss", 1400, 1000, testLoss},
		{"live", 1400, 1000, testLive},
		{"streamed", 1400, 1000, testStreamed},
		{"scrolled", 1400, 1000, testScrolled},
		{"hovered", 1400, 1000, testHovered},
		{"given up", 1400, 1000, testGivenUp},
		{"cut off", 1400, 1000, testCutOff},
		{"unseen", 1400, 1000, testUnseen},
		{"too fast", 1400, 1000, testTooFast},
		{"without a stream", 1400, 1000, testWithoutStream},
		{"many", 1400, 1000, testMany},
		{"token", 1400, 1000, testToken},
		{"gone", 1400, 1000, testGone},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, b.Open(t, test.width, test.height))
		})
	}
}

func testShows(t *testing.T, s *site, tab *browser.Tab) {
	tab.Go(s.URL)
	loaded(tab)
	tab.Await(rowsAre(len(s.records)))
	clients := tab.Texts("#flows .body .client")
	for _, r := range s.records {
		if want := "192.0.2.1:" + strconv.Itoa(int(r.Client.Port)); !slices.Contains(clients, want) {
			t.Errorf("%s is not among %v", want, clients)
		}
	}
	kinds := tab.Texts("#kinds th[scope=row] a")
	if len(kinds) != 9 || kinds[0] != "four_way" {
		t.Errorf("kinds of close: %v", kinds)
	}
	if now := tab.Texts(".waiters tbody th"); len(now) != 1 || now[0] != "192.0.2.2:8080" {
		t.Errorf("waits in CLOSE-WAIT now: %v", now)
	}
	if servers := tab.Text(".servers tbody tr"); !strings.HasPrefix(servers, "192.0.2.2:8080") || !strings.Contains(servers, "30 s") {
		t.Errorf("servers by CLOSE-WAIT: %q", servers)
	}
	if open := tab.Text("#concurrency .legend .value"); open != "1" {
		t.Errorf("open at once: %q", open)
	}
	browser.Value[bool](tab, `(document.querySelectorAll("main .as-table").forEach((d) => { d.open = true; }), true)`)
	tab.Await(`[...document.querySelectorAll("main .as-table")].every((d) => d.querySelectorAll("tbody tr").length > 10)`)
	if heads := tab.Texts("#phases .as-table thead th"); strings.Join(heads[:min(len(heads), 4)], " ") != "Time p50 p90 p99" {
		t.Errorf("the table of a chart has the columns %v", heads)
	}
	if wrong := browser.Value[[]string](tab, `(() => {
		const units = { ns: 1, µs: 1e3, ms: 1e6, s: 1e9 };
		const ns = (text) => { const [n, unit] = text.trim().split(/\s+/); return Number(n) * units[unit]; };
		return [...document.querySelectorAll("#phases .as-table tbody tr")].map((r) => [...r.cells].map((c) => c.textContent))
			.filter((c) => ns(c.at(1)) > ns(c.at(3))).map((c) => c.join(" "));
	})()`); len(wrong) > 0 {
		t.Errorf("the percentiles are in no order: %q", wrong)
	}
	if appliance := tab.Text("#appliance"); !strings.Contains(appliance, "eth1 (native, veth)") || !strings.Contains(appliance, "1.2.3") {
		t.Errorf("the appliance: %q", appliance)
	}
	tab.Check(s.URL)
}

// A filter goes into the URL, and a URL into the filters; the way back too.
func testFilters(t *testing.T, s *site, tab *browser.Tab) {
	tab.Go(s.URL)
	loaded(tab)
	browser.Value[bool](tab, `(() => {
		const select = document.querySelector("#filter-close_kind");
		select.value = "reset";
		return select.dispatchEvent(new Event("change", { bubbles: true }));
	})()`)
	tab.Await(rowsAre(1))
	if search := browser.Value[string](tab, "location.search"); search != "?close_kind=reset" {
		t.Errorf("URL: %q", search)
	}
	browser.Value[bool](tab, "(history.back(), true)")
	tab.Await(rowsAre(len(s.records)))
	if kind := browser.Value[string](tab, `document.querySelector("#filter-close_kind").value`); kind != "" {
		t.Errorf("after going back the filter is %q", kind)
	}
	browser.Value[bool](tab, "(history.forward(), true)")
	tab.Await(rowsAre(1))
	tab.Go(s.URL + "/?min_close_wait=5s&server_port=8080&evidence=full")
	loaded(tab)
	tab.Await(rowsAre(1))
	if value := browser.Value[string](tab, `document.querySelector("#filter-min_close_wait").value`); value != "5s" {
		t.Errorf("the filter of the URL is shown as %q", value)
	}
	if tags := tab.Texts(".tags a"); len(tags) != 1 || !strings.HasPrefix(tags[0], "evidence full") {
		t.Errorf("filters without a control: %v", tags)
	}
	for _, path := range []string{"/v1/flows?", "/v1/stream?", "/v1/series?", "/v1/connections?", "/v1/teardown?"} {
		if asked(tab, path, "server_port=8080") == 0 || asked(tab, path, "min_close_wait=5s") == 0 || asked(tab, path, "evidence=full") == 0 {
			t.Errorf("%s was not asked with every filter", path)
		}
	}
	tab.Check(s.URL)
	tab.Go(s.URL + "/?server=nonsense")
	tab.Await(`!document.querySelector("#problem").hidden`)
	if problem := tab.Text("#problem"); !strings.Contains(problem, "server") || !strings.Contains(problem, "nonsense") {
		t.Errorf("a wrong filter: %q", problem)
	}
}

// Every kind of close opens as its diagram, with its segments, states and words.
func testDiagrams(t *testing.T, s *site, tab *browser.Tab) {
	for i, k := range append(slices.Clone(s.known), waiting()) {
		r := append(slices.Clone(s.records), s.live.Records...)[i]
		tab.Go(s.flowURL(&r))
		// How long it waits is said once the appliance has told what time it is.
		tab.Await(fmt.Sprintf(`document.querySelector("dialog[open] .waves") && document.querySelector(".headline").textContent.startsWith(%q)`, k.headline))
		var labels []string
		for _, text := range tab.Texts(".waves .segment-name") {
			label, _, _ := strings.Cut(text, "  ")
			labels = append(labels, strings.TrimSpace(label))
		}
		if segments := strings.Join(labels, ", "); segments != k.segments {
			t.Errorf("%v: segments %q, want %q", k.kind, segments, k.segments)
		}
		states := tab.Texts(".waves .state-name")
		for _, state := range []flowtable.State{r.Client.State, r.Server.State} {
			if !slices.Contains(states, state.String()) {
				t.Errorf("%v: states %v have no %v", k.kind, states, state)
			}
		}
		if table := tab.Texts("dialog .as-table tbody tr"); len(table) != len(labels) {
			t.Errorf("%v: the table says %q", k.kind, table)
		}
	}
	tab.Go(s.URL + "/?flow=00000000000000000000000000")
	tab.Await(`document.querySelector("dialog[open] .problem")`)
}

// Everything can be done without a pointer, and the focus is never lost.
func testKeyboard(t *testing.T, s *site, tab *browser.Tab) {
	tab.Go(s.URL)
	loaded(tab)
	tab.Press(kb.Tab)
	if at := browser.Value[string](tab, "document.activeElement.className"); at != "skip" {
		t.Errorf("the first stop is %q", at)
	}
	tab.Await(rowsAre(len(s.records)))
	browser.Value[bool](tab, `(document.querySelector("#flows .body a").focus(), true)`)
	focused := `document.activeElement.closest("[data-index]")?.dataset.index ?? ""`
	for _, step := range []struct{ key, want string }{
		{kb.ArrowDown, "1"}, {kb.ArrowDown, "2"}, {kb.ArrowUp, "1"}, {kb.End, "9"}, {kb.Home, "0"}, {kb.ArrowDown, "1"},
	} {
		tab.Press(step.key)
		if at := browser.Value[string](tab, focused); at != step.want {
			t.Errorf("the focus is on row %q, want %s", at, step.want)
		}
	}
	tab.Press(kb.Enter)
	tab.Await(`document.querySelector("dialog[open] .waves")`)
	if !browser.Value[bool](tab, `document.querySelector("dialog").contains(document.activeElement)`) {
		t.Error("the focus is not in the dialogue")
	}
	first := browser.Value[string](tab, "location.search")
	tab.Press(kb.ArrowRight)
	tab.Await(`location.search !== ` + strconv.Quote(first))
	tab.Press(kb.ArrowLeft)
	tab.Await(`location.search === ` + strconv.Quote(first))
	tab.Press(kb.Escape)
	tab.Await(`!document.querySelector("dialog[open]") && location.search === ""`)
	if at := browser.Value[string](tab, focused); at != "1" {
		t.Errorf("after closing the focus is on row %q", at)
	}
	browser.Value[bool](tab, `(document.querySelector("#rates .chart").focus(), true)`)
	before := browser.Value[string](tab, `document.activeElement.getAttribute("aria-valuetext")`)
	tab.Press(kb.ArrowLeft)
	after := browser.Value[string](tab, `document.activeElement.getAttribute("aria-valuetext")`)
	if after == before || !strings.Contains(after, "opened") {
		t.Errorf("the chart's cursor says %q, then %q", before, after)
	}
	tab.Press(kb.ArrowLeft + kb.ArrowLeft + kb.Enter + kb.ArrowRight + kb.ArrowRight + kb.Enter) // a time is chosen
	tab.Await(`/^\?since=2\d{3}-.*Z&until=2\d{3}-.*Z$/.test(location.search)`)
	tab.Await(`/ to \d\d:\d\d:\d\d$/.test(document.querySelector("#filter-since").selectedOptions[0].textContent)`)
	tab.Check(s.URL)
}

func testDark(t *testing.T, s *site, tab *browser.Tab) {
	background := `getComputedStyle(document.body).backgroundColor`
	tab.Prefer("prefers-color-scheme", "light")
	tab.Go(s.URL)
	light := browser.Value[string](tab, background)
	tab.Prefer("prefers-color-scheme", "dark")
	tab.Await(background + " !== " + strconv.Quote(light))
	dark := browser.Value[string](tab, background)
	browser.Value[bool](tab, `(document.querySelector("#theme").click(), true)`)
	tab.Await(background + " === " + strconv.Quote(light))
	tab.Go(s.URL) // the choice is kept
	tab.Await(background + " === " + strconv.Quote(light))
	browser.Value[bool](tab, `(document.querySelector("#theme").click(), true)`)
	tab.Await(background + " === " + strconv.Quote(dark))
	tab.Check(s.URL)
}

// On a phone nothing is wider than the screen.
func testNarrow(t *testing.T, s *site, tab *browser.Tab) {
	fits := `document.scrollingElement.scrollWidth <= innerWidth`
	tab.Go(s.URL)
	loaded(tab)
	if !browser.Value[bool](tab, fits) {
		t.Error("the page is wider than the screen: " + browser.Value[string](tab, `[...document.querySelectorAll("body *")]
			.filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 8).map((e) => e.outerHTML.slice(0, 80)).join(" ")`))
	}
	for _, r := range s.records {
		tab.Go(s.flowURL(&r))
		tab.Await(`document.querySelector("dialog[open] .waves")`)
		if !browser.Value[bool](tab, fits+` && document.querySelector("dialog").scrollWidth <= innerWidth`) {
			t.Errorf("%v: the dialogue is wider than the screen", r.CloseKind)
		}
	}
	tab.Check(s.URL)
}

func testAccessible(t *testing.T, s *site, tab *browser.Tab) {
	controls := []string{"button", "link", "textbox", "combobox", "slider", "checkbox", "dialog", "table", "region", "DisclosureTriangle", "image", "img"}
	check := func(what string, wanted ...browser.Accessible) {
		found := map[string]int{}
		all := tab.Accessibles()
		for _, a := range all {
			if slices.Contains(controls, a.Role) {
				found[a.Role]++
				if strings.TrimSpace(a.Name) == "" {
					t.Errorf("%s: a %s has no name", what, a.Role)
				}
			}
		}
		for _, want := range wanted {
			if !slices.Contains(all, want) {
				t.Errorf("%s: there is no %s %q among %v", what, want.Role, want.Name, found)
			}
		}
	}
	tab.Go(s.URL)
	loaded(tab)
	tab.Await(rowsAre(len(s.records)))
	check("page",
		browser.Accessible{Role: "table", Name: "Connections that ended"}, browser.Accessible{Role: "columnheader", Name: "CLOSE-WAIT"},
		browser.Accessible{Role: "textbox", Name: "Server"}, browser.Accessible{Role: "combobox", Name: "Closed"},
		browser.Accessible{Role: "button", Name: "Pause"}, browser.Accessible{Role: "heading", Name: "Ledger"})
	tab.Go(s.flowURL(&s.records[0]))
	tab.Await(`document.querySelector("dialog[open] .waves")`)
	check("dialogue", browser.Accessible{Role: "dialog", Name: "192.0.2.1:40001 to 192.0.2.2:8080"}, browser.Accessible{Role: "link", Name: "Close"})
}

// The ledger is quiet where nothing was lost, and loud where something was.
func testLoss(t *testing.T, tab *browser.Tab) {
	s := newSite(t)
	tab.Go(s.URL)
	loaded(tab)
	if quiet := browser.Value[bool](tab, `document.querySelector("#lost").hidden`); !quiet || !strings.Contains(tab.Text("#ledger"), "Nothing was lost.") {
		t.Errorf("nothing was lost, and the ledger says %q", tab.Text("#ledger"))
	}
	s.lost.Store(41)
	tab.Go(s.URL)
	tab.Await(`!document.querySelector("#lost").hidden`)
	if alarm := tab.Text("#lost"); !strings.Contains(alarm, "41 lost") || !strings.Contains(alarm, "socket/ring_full on eth1 queue 1") {
		t.Errorf("the alarm says %q", alarm)
	}
	if losses := tab.Texts("#ledger .losses tbody td"); strings.Join(losses, ", ") != "ring_full, eth1 queue 1, 41" {
		t.Errorf("the ledger's losses: %v", losses)
	}
	tab.Check(s.URL)
}

// New records come by themselves, but not while the page is paused.
func testLive(t *testing.T, tab *browser.Tab) {
	s := knownSite(t)
	tab.Go(s.URL + "/?close_kind=refused")
	loaded(tab)
	tab.Await(rowsAre(1))
	more := func(serial uint64) flowtable.Record {
		return connection(serial, flowtable.Refused, moments{flowtable.SYNAt: 0, flowtable.RSTAt: ms}, reset(flowtable.Server, flowtable.Server))
	}
	s.write(t, more(20))
	tab.Await(rowsAre(2))
	browser.Value[bool](tab, `(document.querySelector("#pause").click(), true)`)
	tab.Await(`document.querySelector("#live").textContent === "Paused"`)
	asked := len(tab.Requests())
	s.write(t, more(21))
	time.Sleep(6 * time.Second) // longer than the page waits between two rounds
	if now := len(tab.Requests()); now != asked || !browser.Value[bool](tab, rowsAre(2)) {
		t.Errorf("paused, the page asked %d questions", now-asked)
	}
	browser.Value[bool](tab, `(document.querySelector("#pause").click(), true)`)
	tab.Await(rowsAre(3))
	tab.Check(s.URL)
}

// Ten thousand rows are all there, and few of them in the document.
func testMany(t *testing.T, tab *browser.Tab) {
	var many []flowtable.Record
	for i := range 10000 {
		many = append(many, connection(uint64(i), flowtable.FourWay, opened(5, 6, 7, 8), func(r *flowtable.Record) {
			closed(flowtable.Client, flowtable.StateTimeWait, flowtable.StateClosed)(r)
			r.Client.Port = uint16(i)
		}))
	}
	s := newSite(t, many...)
	tab.Go(s.URL + "/?limit=10000")
	tab.Await(`document.querySelector(".flow-table").getAttribute("aria-rowcount") === "10001"`)
	if n := browser.Value[int](tab, rows); n < 10 || n > 200 {
		t.Errorf("%d rows are in the document", n)
	}
	browser.Value[bool](tab, `(document.querySelector("#flows .body a").focus(), true)`)
	tab.Press(kb.End)
	tab.Await(`document.activeElement.closest("[data-index]")?.dataset.index === "9999"`)
	box := browser.Value[[]float64](tab, `(() => {
		const [row, view] = [document.activeElement, document.querySelector(".scroller")].map((e) => e.getBoundingClientRect());
		return [row.top - view.top, view.bottom - row.bottom];
	})()`)
	if box[0] < 0 || box[1] < 0 {
		t.Errorf("the last row is out of view: %v", box)
	}
	tab.Check(s.URL)
}

// Without the token nothing is shown, with it everything, and every question
// has it.
func testToken(t *testing.T, tab *browser.Tab) {
	s := knownSite(t)
	s.token = "the right one"
	asks := `document.querySelector("#access").open`
	give := func(token string) {
		tab.Await(asks)
		browser.Value[bool](tab, `(document.querySelector("#token").focus(), true)`)
		tab.Press(token + kb.Enter)
	}
	tab.Go(s.URL)
	give("a wrong one")
	tab.Await(asks + ` && !document.querySelector("#access-problem").hidden`)
	if n := browser.Value[int](tab, rows); n != 0 {
		t.Errorf("%d rows are shown without the token", n)
	}
	give(s.token)
	loaded(tab)
	asked := len(tab.Requests())
	tab.Go(s.URL) // it is kept
	loaded(tab)
	for _, r := range tab.Requests()[asked:] {
		if strings.Contains(r.URL, "/v1/") && r.Headers["Authorization"] != "Bearer "+s.token {
			t.Errorf("%s was asked without the token", r.URL)
		}
	}
	if kept := browser.Value[string](tab, "JSON.stringify([sessionStorage.length, localStorage.length, document.cookie])"); kept != `[1,0,""]` {
		t.Errorf("sessions, storage and cookies: %s", kept)
	}
}

// An appliance that is gone is said to be, and shown again once it is back.
func testGone(t *testing.T, tab *browser.Tab) {
	s := knownSite(t)
	address := s.Listener.Addr().String()
	tab.Go(s.URL)
	loaded(tab)
	handler := s.Config.Handler
	s.stop()
	tab.Await(`!document.querySelector("#gone").hidden && document.querySelector("#live").textContent === "No answer"`)
	if n := browser.Value[int](tab, rows); n != 10 {
		t.Errorf("what was shown is gone too: %d rows", n)
	}
	again := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: time.Second}
	go func() { _ = again.ListenAndServe() }()
	t.Cleanup(func() { _ = again.Close() })
	tab.Await(`document.querySelector("#gone").hidden && document.querySelector("#live").textContent === "Live"`)
}
