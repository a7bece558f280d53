package flowtable

import "testing"

// Outlines are told apart, and say what they are made of.
func TestOutlines(t *testing.T) {
	seen := map[Outline]bool{None: true}
	for client := range State(States) {
		for server := range State(States) {
			for _, high := range []bool{false, true} {
				o := OutlineOf(client, server, high)
				gotClient, gotServer := o.States()
				if seen[o] || o >= Outlines || gotClient != client || gotServer != server || (o.clientEnd() == 1) != high {
					t.Errorf("%v and %v, %v: outline %d of %v and %v, %d", client, server, high, o, gotClient, gotServer, o.clientEnd())
				}
				seen[o] = true
			}
		}
	}
}

// What an outline rules out is so, at every step of every conversation; and what
// it says is decided, the kernel cannot know better.
func TestOutlinesOfScripts(t *testing.T) {
	may, decided := 0, 0
	for _, steps := range [][]step{finished, opened, after(opened, step{20, s, fR, 21, 0, 0}),
		after(opened, step{20, c, fFA, 11, 21, 0}, step{21, s, fFA, 21, 11, 0}, step{22, c, fA, 12, 22, 0}, step{23, s, fA, 22, 12, 0}),
		after(opened, step{20, c, fFA, 11, 21, 0}, step{21, s, fR, 21, 0, 0})} {
		k := newKernel(10)
		b := newBench(t, Config{Accounts: k, Timeouts: LiveTimeouts()})
		v := between(40000, 443)
		for _, st := range steps {
			if g := v.segment(st); k.see(g) {
				b.feed(g)
			}
			b.Look(new(Glance), func(p Place, r *Record) bool {
				o := b.outlines.load(p.slot)
				_, fin := r.Time(FIN1At)
				if fin && !o.MayHaveFIN() {
					t.Errorf("%v/%v with a FIN has none by its outline", r.Client.State, r.Server.State)
				}
				if !fin && o.MayHaveFIN() {
					may++
				}
				whole := b.live()
				possible := false
				for client, server := range o.Possible() {
					possible = possible || client == whole.Client.State && server == whole.Server.State
				}
				if !possible {
					t.Errorf("%v/%v is impossible where the worker knows of %v/%v", whole.Client.State, whole.Server.State, r.Client.State, r.Server.State)
				}
				if !o.Undecided() && fin {
					decided++
					if whole.Client.State != r.Client.State || whole.Server.State != r.Server.State || whole.CloseKind != r.CloseKind || whole.Complete != r.Complete {
						t.Errorf("%v/%v is decided, the kernel knows %v/%v", r.Client.State, r.Server.State, whole.Client.State, whole.Server.State)
					}
				}
				return true
			})
		}
	}
	if may > 1 || decided < 3 {
		t.Errorf("%d without a FIN may have one, %d were decided", may, decided)
	}
}
