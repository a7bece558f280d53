//go:build interop

package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/finwait/finwait/api/dashboard/browser"
	"github.com/finwait/finwait/xdp/lab"
)

// picture is the file for 'make picture'.
var picture = flag.String("picture", "", "file to which a picture of the page is written, after a minute of the laboratory")

// The page of the laboratory's appliance shows the connections that were opened
// there, by the real API of real traffic, and complains of nothing.
func TestInteropPageOfLab(t *testing.T) {
	needRoot(t)
	s := newSite(t, 2)
	a, end := tapped(t, s.Network)
	defer end()
	url := "http://" + a.config.listener.Addr().String()
	tab := browser.Start(t).Open(t, 1400, 1000)
	if *picture != "" {
		s.takePictures(tab, url)
	}
	expected, err := s.Traffic(t.Context(), time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := settle(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	checkStates(t, tab, url)
	checkConnections(t, tab, url, expected)
	tab.Check(url)
}

// checkStates holds what the diagram's states come to, from the segments alone,
// against those that the appliance has in its records.
func checkStates(t *testing.T, tab *browser.Tab, url string) {
	tab.Go(url)
	wrong := browser.Value[struct {
		Flows int
		Wrong []string
	}](tab, `Promise.all([import("/page/sequence.js"), fetch("/v1/flows?limit=10000").then((r) => r.json())]).then(([{ sequence }, { flows }]) => ({
		flows: flows.length,
		wrong: flows.flatMap((flow) => ["client", "server"].filter((side) => { const s = sequence(flow).states[side]; return s.length > 1 && s.at(-1).segment === null; })
			.map((side) => side + " of " + JSON.stringify(flow))),
	}))`)
	if wrong.Flows < 20 {
		t.Errorf("only %d flows", wrong.Flows)
	}
	for _, one := range wrong.Wrong[:min(len(wrong.Wrong), 3)] {
		t.Errorf("the diagram's states do not end in the record's: %s", one)
	}
}

// checkConnections opens one connection of every scenario.
func checkConnections(t *testing.T, tab *browser.Tab, url string, expected []lab.Expectation) {
	seen := map[string]bool{}
	for _, e := range expected {
		if seen[e.Scenario] {
			continue
		}
		seen[e.Scenario] = true
		tab.Go(fmt.Sprintf("%s/?client=%s&client_port=%d&server_port=%d", url, e.ClientIP, e.ClientPort, e.ServerPort))
		tab.Await(`document.querySelector("#flows .body .kind-name")`)
		kind := tab.Text("#flows .body .kind-name")
		if kinds := tab.Texts("#flows .body .kind-name"); !slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(e.CloseKinds, k) }) {
			t.Errorf("%s: %s is shown as %v, and ended in %v", e.Scenario, e.Tuple, kinds, e.CloseKinds)
		}
		browser.Value[bool](tab, `(document.querySelector("#flows .body a").click(), true)`)
		tab.Await(`document.querySelector("dialog[open] .waves .segment")`)
		if labels := tab.Texts(".waves .segment-name"); len(labels) < 1 || kind == "four_way" && len(labels) < 7 {
			t.Errorf("%s: the diagram has the segments %v", e.Scenario, labels)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d scenarios", len(seen))
	}
}

// takePictures are of the page while connections come and go, and some wait for
// a server's application that does not close; and of one for which it closed late.
func (s *site) takePictures(tab *browser.Tab, url string) {
	const warming, waiting = 25 * time.Second, 31 * time.Second
	traffic := make(chan error, 1)
	go func() {
		_, err := s.Traffic(s.t.Context(), warming+waiting+10*time.Second, nil)
		traffic <- err
	}()
	time.Sleep(warming)
	var late *net.TCPConn
	for range 4 {
		client, server := s.connect()
		if err := client.CloseWrite(); err != nil {
			s.t.Fatal(err)
		}
		if late == nil {
			late = server
		}
		time.Sleep(waiting / 4)
	}
	if err := late.Close(); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // it lingers before it is on record
	take := func(name, path, ready string) {
		tab.Go(url + path)
		tab.Await(ready)
		if err := os.WriteFile(*picture+name, tab.Picture(), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	tab.Resize(1400, 1640, 1)
	const loaded = `document.querySelectorAll("#flows .body [role=row]").length > 10 && document.querySelectorAll(".chart .line").length >= 13 && document.querySelector("#ledger .facts") && document.querySelector(".waiters")`
	take(".png", "/?since=-1m", loaded)
	tab.Go(url + "/?since=-1m&sort=-close_wait")
	tab.Await(loaded)
	link := browser.Value[string](tab, `document.querySelector("#flows .body a").getAttribute("href")`)
	tab.Resize(1010, 960, 1)
	take("-waves.png", link, `document.querySelector("dialog[open] .waves .segment") && (document.activeElement.blur(), true)`)
	if err := <-traffic; err != nil {
		s.t.Error(err)
	}
	tab.Resize(1400, 1000, 1)
}
