package console

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Elements returns the members of an answer's list as they came, and what they
// are grouped by.
func (a *Answer) Elements(body []byte) (elements []json.RawMessage, groupBy []string, err error) {
	var members map[string]json.RawMessage
	if err = json.Unmarshal(body, &members); err == nil {
		err = json.Unmarshal(members[a.List], &elements)
	}
	if by, found := members["group_by"]; found && err == nil {
		err = json.Unmarshal(by, &groupBy)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading %q of the answer: %w", a.List, err)
	}
	return elements, groupBy, nil
}

// LeftOut says what fits and is not among the elements of an answer; it is "" where
// they are all.
func (a *Answer) LeftOut(body []byte) (string, error) {
	elements, _, err := a.Elements(body)
	if err != nil {
		return "", err
	}
	var of struct {
		Total       uint64 `json:"total"` // of connections; of a Top it is something else
		GroupsTotal int    `json:"groups_total"`
		NextCursor  string `json:"next_cursor"`
	}
	if err := json.Unmarshal(body, &of); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	shown := len(elements)
	switch {
	case of.NextCursor != "":
		return fmt.Sprintf("there are more than these %d; --limit and --cursor %s give them", shown, of.NextCursor), nil
	case of.GroupsTotal > shown:
		return fmt.Sprintf("%d of %d groups; --limit gives more", shown, of.GroupsTotal), nil
	case a == &Connections && of.Total > uint64(shown):
		return fmt.Sprintf("%d of %d that fit; --limit gives more, up to 10000", shown, of.Total), nil
	}
	return "", nil
}

// CSV writes elements as lines under a heading (RFC 4180, with line feeds).
type CSV struct {
	out     *csv.Writer
	columns []string
}

// CSV begins a file of this answer's elements.
func (a *Answer) CSV(w io.Writer, groupBy []string) (*CSV, error) {
	sample, err := json.Marshal(a.sample)
	if err != nil {
		return nil, err
	}
	columns, err := names(json.NewDecoder(bytes.NewReader(sample)), "", groupBy)
	if err != nil {
		return nil, err
	}
	c := &CSV{csv.NewWriter(w), columns}
	return c, c.out.Write(columns)
}

// Write writes one element; null is an empty cell.
func (c *CSV) Write(element []byte) error {
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(element))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return fmt.Errorf("reading an element of the answer: %w", err)
	}
	cells := make(map[string]string, len(c.columns))
	flatten(cells, "", members)
	row := make([]string, len(c.columns))
	for i, name := range c.columns {
		row[i] = cells[name]
	}
	return c.out.Write(row)
}

// Flush writes out what is held back.
func (c *CSV) Flush() error {
	c.out.Flush()
	return c.out.Error()
}

// names lists the members of a JSON object in their order, those of objects in
// it with the name before. What a group's key has depends on the question.
func names(d *json.Decoder, prefix string, groupBy []string) ([]string, error) {
	if _, err := d.Token(); err != nil { // {
		return nil, err
	}
	var list []string
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := prefix + token.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		switch {
		case name == "key":
			for _, by := range groupBy {
				list = append(list, "key."+by)
			}
		case value[0] == '{':
			within, err := names(json.NewDecoder(bytes.NewReader(value)), name+".", groupBy)
			if err != nil {
				return nil, err
			}
			list = append(list, within...)
		default:
			list = append(list, name)
		}
	}
	return list, nil
}

func flatten(cells map[string]string, prefix string, members map[string]any) {
	for name, value := range members {
		switch v := value.(type) {
		case nil:
		case map[string]any:
			flatten(cells, prefix+name+".", v)
		default:
			cells[prefix+name] = fmt.Sprint(v)
		}
	}
}

// Fields makes a table of one object, a line for each member in their order.
func Fields(object []byte) (*Table, error) {
	list, err := names(json.NewDecoder(bytes.NewReader(object)), "", nil)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	cells := make(map[string]string, len(list))
	flatten(cells, "", members)
	t := &Table{Columns: []Column{{Title: "FIELD"}, {Title: "VALUE"}}}
	for _, name := range list {
		value := orNone(cells[name])
		if ns, err := json.Number(value).Int64(); err == nil && strings.HasSuffix(name, "_ns") {
			value = fmt.Sprintf("%s (%s)", value, duration(&ns))
		}
		t.Add(name, value)
	}
	return t, nil
}

// Formats are the ways to write an answer.
var Formats = []string{"table", "json", "ndjson", "csv"}

// IsFormat tells whether there is such a format.
func IsFormat(name string) bool { return slices.Contains(Formats, name) }
