package query

// textFields are the fields of groups whose ids are places in Grouping.texts.
var textFields = []string{"interface", "server_process", "client_process"}

// texts numbers texts from 0.
type texts struct {
	list   []string
	places map[string]uint64
}

// place is the number of a text, new or not.
func (t *texts) place(text string) uint64 {
	at, found := t.places[text]
	if !found {
		if t.places == nil {
			t.places = make(map[string]uint64)
		}
		at = uint64(len(t.list))
		t.places[text] = at
		t.list = append(t.list, text)
	}
	return at
}
