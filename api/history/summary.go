package history

import "github.com/finwait/finwait/flowtable"

// Summary is what holds for all rows of a block that is full: a question that it
// answers need not read them.
type Summary struct {
	ClientIPv4, ServerIPv4 bool   // all addresses are
	EndReasons             uint32 // a bit for each that there is
	Phases                 [flowtable.Phases]Bounds
}

// Bounds are those of the codes of a phase that are known.
type Bounds struct {
	Least Code // Unknown where none is known
	End   Code // 1 above the greatest; 0 where none is known
}

// Meet tells whether any code from least to greatest may be among them.
func (b Bounds) Meet(least, greatest Code) bool { return b.Least <= greatest && b.End > least }

// Add takes one code more.
func (b *Bounds) Add(code Code) {
	if code < b.Least {
		b.Least = code
	}
	if code+1 > b.End { // never of what is not known
		b.End = code + 1
	}
}

// summarise reads a full block. Its rows are not summed up one by one as they come: who
// makes it reads each column in one go.
func (b *Block) summarise() Summary {
	s := Summary{ClientIPv4: b.Client.Address.areIPv4(), ServerIPv4: b.Server.Address.areIPv4()}
	for _, reason := range b.EndReason {
		s.EndReasons |= 1 << reason
	}
	for p := range b.Phases {
		bounds := Bounds{Least: Unknown}
		for _, code := range b.Phases[p] {
			bounds.Add(code)
		}
		s.Phases[p] = bounds
	}
	return s
}
