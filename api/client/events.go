package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
)

// maxEvent bounds one line of a stream.
const maxEvent = 1 << 20

// Event is one server-sent event.
type Event struct {
	Name string // flow, or lost
	ID   string
	Data []byte // valid until the next event
}

// Events asks for a stream of server-sent events (HTML Living Standard section
// 9.2.6) and calls yield for each, until it returns an error or the stream ends.
func (c *Client) Events(ctx context.Context, path string, query url.Values, yield func(Event) error) error {
	answer, err := c.Open(ctx, path, query, "text/event-stream")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	err = readEvents(answer.Body, yield)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("stream of %s%s: cut off", c.server, path)
	}
	return err
}

func readEvents(r io.Reader, yield func(Event) error) error {
	var e Event
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 16<<10), maxEvent)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if len(e.Data) > 0 {
				if err := yield(e); err != nil {
					return err
				}
			}
			e = Event{ID: e.ID, Data: e.Data[:0]}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.Name = string(value)
		case "id":
			e.ID = string(value)
		case "data":
			if len(e.Data) > 0 {
				e.Data = append(e.Data, '\n')
			}
			e.Data = append(e.Data, value...)
		}
	}
	return lines.Err()
}
