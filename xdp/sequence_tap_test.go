package xdp

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSequenceTap: a tap by sequence passes what answers, across its
// interfaces, has no flow table, and says so in its facts and its ledger.
func TestSequenceTap(t *testing.T) {
	newNamespace(t)
	newPair(t, "near0", "far0", 1)
	newPair(t, "near1", "far1", 1)
	tap := openTap(t, Config{Interfaces: []string{"near0", "near1"}, Sequence: true})
	if tap.Accounts() != nil {
		t.Error("there is a flow table")
	}
	if n, err := tap.Orphans(time.Minute); n != 0 || err != nil {
		t.Errorf("%d orphans: %v", n, err)
	}
	facts, warnings := strings.Join(tap.Facts(), "\n"), strings.Join(tap.Warnings(), "\n")
	if !strings.Contains(facts, "accounting by sequence: no flow table, 65536 awaited acknowledgements") || strings.Contains(facts, "flow table: ") {
		t.Errorf("facts: %s", facts)
	}
	if strings.Count(warnings, "by sequence, an acknowledgement that overtakes its FIN is not known") != 2 {
		t.Errorf("warnings: %s", warnings)
	}
	clients, servers := newSender(t, "far0"), newSender(t, "far1")
	clients.send(client(syn, 100, 0, 0).bytes())
	gather(t, tap.Queues(), 1)
	servers.send(server(syn|ack, 200, 101, 0).bytes())
	gather(t, tap.Queues(), 1)
	clients.send(client(ack, 101, 201, 50).bytes())
	clients.send(client(ack, 151, 201, 50).bytes())
	clients.send(client(fin|ack, 201, 201, 0).bytes())
	if got := gather(t, tap.Queues(), 2); len(got) != 2 || got[0].Payload != 50 || got[0].Seq != 101 || got[1].TCPFlags != fin|ack || got[0].Marks != 0 {
		t.Errorf("after the SYN-ACK came %+v", got)
	}
	servers.send(server(ack, 201, 202, 9).bytes())
	servers.send(server(ack, 210, 202, 9).bytes())
	if got := gather(t, tap.Queues(), 1); len(got) != 1 || got[0].Seq != 201 || tap.InterfaceName(got[0].Interface) != "near1" {
		t.Errorf("after the FIN came %+v", got)
	}
	gatherFor(t, tap.Queues(), 1, 5) // until the last one has arrived
	counts := make(map[string]uint64)
	for _, c := range tap.Ledger() {
		counts[c.Stage+" "+c.Reason] += c.Value
		if c.Stage == StageFlowTable {
			t.Errorf("the ledger speaks of a flow table: %+v", c)
		}
		if want := c.Reason == "fin_acks_forgotten"; strings.HasSuffix(c.Reason, "_forgotten") && c.Loss() != want {
			t.Errorf("%q is a loss: %v", c.Reason, c.Loss())
		}
	}
	if counts["program passed"] != 5 || counts["program counted"] != 2 {
		t.Errorf("ledger: %v", counts)
	}
	for _, reason := range []string{"fin_acks_forgotten", "syn_ack_answers_forgotten"} {
		if n, ok := counts["program "+reason]; !ok || n != 0 {
			t.Errorf("%q: %d, %v", reason, n, ok)
		}
	}
}

// TestCountedLedger: what only accounting by sequence forgets is not there otherwise.
func TestCountedLedger(t *testing.T) {
	newNamespace(t)
	newPair(t, "near0", "far0", 1)
	tap := openTap(t, Config{Interfaces: []string{"near0"}})
	if slices.ContainsFunc(tap.Ledger(), func(c Count) bool { return strings.HasSuffix(c.Reason, "_forgotten") }) {
		t.Error("the ledger of a tap that counts speaks of what was forgotten")
	}
}
