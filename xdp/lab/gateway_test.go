package lab

import (
	"slices"
	"strings"
	"testing"
)

// TestTrafficIsWhatTheGatewayPasses holds the expectations of both sides against
// captures of both.
func TestTrafficIsWhatTheGatewayPasses(t *testing.T) {
	for name, nat := range map[string]NAT{"masquerade": Masquerade, "routed": Routed} {
		t.Run(name, func(t *testing.T) {
			network := keep(t, func() (*Network, error) { return BuildGateway(nat) })
			interfaces := []string{LANInterface, WANInterface}
			var witnesses []*witness
			for _, name := range interfaces {
				witnesses = append(witnesses, newWitnessAt(t, network, Gateway, name))
			}
			done, err := network.Traffic(t.Context(), 0, nil)
			var seen [][]sighting
			for _, w := range witnesses {
				seen = append(seen, w.stop(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			expected := OnBothSides(done)
			for i, on := range interfaces {
				side := slices.DeleteFunc(slices.Clone(expected), func(e Expectation) bool { return e.Interface != on })
				for j := range side {
					side[j].Interface = ""
				}
				report := Compare(side, verdict(seen[i]))
				if !report.OK() || report.Connections < len(scenarios) {
					var table strings.Builder
					if err := report.WriteTable(&table); err != nil {
						t.Error(err)
					}
					t.Errorf("%s: the lab did not do what it says\n%s", on, &table)
				}
				if large := slices.ContainsFunc(seen[i], func(s sighting) bool { return s.payload > 1500 }); !large {
					t.Errorf("%s: no two segments came in one", on)
				}
				passed, err := network.Passed(on)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d segments seen, %+v passed", on, len(seen[i]), passed)
			}
		})
	}
}
