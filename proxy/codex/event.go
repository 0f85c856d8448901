package codex

import (
	"bytes"
	"errors"
	"io"

	"github.com/tidwall/gjson"
)

// The events that this program acts on. Others pass through to those who understand them.
// Source: codex-rs/codex-api/src/sse/responses.rs.
const (
	TypeCreated        = "response.created"
	TypeInProgress     = "response.in_progress"
	TypeItemAdded      = "response.output_item.added"
	TypeItemDone       = "response.output_item.done"
	TypeTextDelta      = "response.output_text.delta"
	TypeAnnotation     = "response.output_text.annotation.added"
	TypeRefusalDelta   = "response.refusal.delta"
	TypeReasoningDelta = "response.reasoning_summary_text.delta"
	TypeReasoningPart  = "response.reasoning_summary_part.added"
	TypeReasoningText  = "response.reasoning_text.delta"
	TypeArgumentsDelta = "response.function_call_arguments.delta"
	TypeCustomDelta    = "response.custom_tool_call_input.delta"
	TypeCompleted      = "response.completed"
	TypeIncomplete     = "response.incomplete"
	TypeFailed         = "response.failed"
	TypeError          = "error"
)

// maxEvent is the largest event that is accepted, in bytes: an image that the backend made fits.
const maxEvent = 64 << 20

// errEventTooLarge ends a stream whose event does not fit in maxEvent.
var errEventTooLarge = errors.New("event is too large")

// Event is one server-sent event. Its slices are valid until the next call of Next; Raw, which is a part of what was read, until
// more is read, which BeforeRead tells.
type Event struct {
	Type string // the event's name, or the "type" of its data where the stream does not name events
	Data []byte // the JSON
	Raw  []byte // the bytes as they came, with the empty line that ends them

	lines int // over which the data came
}

// Prelude reports whether the event says nothing of the answer yet.
func (ev Event) Prelude() bool {
	switch ev.Type {
	case TypeCreated, TypeInProgress, "codex.rate_limits", "response.metadata":
		return true
	}
	return false
}

// ends reports whether the event is the last of an answer.
func (ev Event) ends() bool {
	switch ev.Type {
	case TypeCompleted, TypeIncomplete, TypeFailed, TypeError:
		return true
	}
	return false
}

// Decoder splits a stream into events. It understands LF, CRLF and CR, data over several lines, and events of any
// size up to 64 MB, and holds no more than the event it is reading.
// Source: WHATWG HTML, server-sent events, 9.2.5.
type Decoder struct {
	r      io.Reader
	buf    []byte
	start  int  // of the event being read
	scan   int  // where the next line starts
	seen   int  // up to here the present line has no end
	skipLF bool // the last line ended in a CR at the end of what had come
	err    error
	multi  []byte // data that came over several lines
	before func() error
}

// What is read at once, in bytes: most streams send a few events a second, of some 300 bytes each; one that fills the buffer
// gets a larger one.
const (
	readFirst = 2 << 10
	readMost  = 32 << 10
)

// NewDecoder returns a Decoder that reads from r.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: r, buf: make([]byte, 0, readFirst)}
}

// BeforeRead has f called each time before more bytes are waited for, and before the end. A writer that keeps what it has to send until then
// sends a burst as one, and never late. An error of f is the error of Next, from then on.
func (d *Decoder) BeforeRead(f func() error) { d.before = f }

// Next returns the next event that has data. At the end of the stream the error is io.EOF; an event that the end cut
// off is not returned.
func (d *Decoder) Next() (Event, error) {
	d.start = d.scan
	var ev Event
	data := d.multi[:0]
	lines := 0
	from, to := 0, 0 // the data line, as offsets from start
	for {
		line, err := d.line()
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			if lines == 0 { // a comment or a name without data: nothing to hand out
				d.start = d.scan
				ev = Event{}
				continue
			}
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:]
		}
		switch string(name) {
		case "event":
			ev.Type = intern(value)
		case "data":
			lines++
			if lines == 1 {
				from = len(line) - len(value) + d.lineStart(line)
				to = from + len(value)
				break
			}
			if lines == 2 {
				data = append(data, d.buf[d.start+from:d.start+to]...)
			}
			data = append(append(data, '\n'), value...)
		}
	}
	ev.lines = lines
	ev.Raw = d.buf[d.start:d.scan]
	ev.Data = ev.Raw[from:to]
	if lines > 1 {
		ev.Data, d.multi = data, data
	}
	if ev.Type == "" {
		ev.Type = intern(typeOf(ev.Data))
	}
	return ev, nil
}

// lineStart is where line, a slice of buf, starts after start.
func (d *Decoder) lineStart(line []byte) int {
	return cap(d.buf) - cap(line) - d.start
}

// line returns the next line without its end.
func (d *Decoder) line() ([]byte, error) {
	for {
		if d.skipLF && d.scan < len(d.buf) {
			if d.buf[d.scan] == '\n' {
				d.scan++
				d.seen = max(d.seen, d.scan)
			}
			d.skipLF = false
		}
		rest := d.buf[d.seen:]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			i = len(rest)
		}
		if j := bytes.IndexByte(rest[:i], '\r'); j >= 0 {
			i = j
		}
		if i == len(rest) {
			d.seen = len(d.buf)
			if err := d.fill(); err != nil {
				return nil, err
			}
			continue
		}
		line := d.buf[d.scan : d.seen+i]
		d.scan = d.seen + i + 1
		if rest[i] == '\r' {
			if d.scan == len(d.buf) {
				d.skipLF = true // the LF of a CRLF may still come
			} else if d.buf[d.scan] == '\n' {
				d.scan++
			}
		}
		d.seen = d.scan
		return line, nil
	}
}

// fill reads more bytes behind buf, first making room by dropping what was handed out.
func (d *Decoder) fill() error {
	if d.before != nil {
		if err := d.before(); err != nil {
			d.err = err
		}
	}
	if d.err != nil {
		return d.err
	}
	if len(d.buf)-d.start >= maxEvent {
		d.err = errEventTooLarge
		return d.err
	}
	full := len(d.buf) == cap(d.buf)
	if d.start == len(d.buf) || full {
		n := copy(d.buf, d.buf[d.start:])
		d.buf = d.buf[:n]
		d.scan, d.seen, d.start = d.scan-d.start, d.seen-d.start, 0
	}
	if full && (len(d.buf) > cap(d.buf)/2 || cap(d.buf) < readMost) {
		d.buf = append(make([]byte, 0, 2*cap(d.buf)), d.buf...)
	}
	for range 100 {
		n, err := d.r.Read(d.buf[len(d.buf):cap(d.buf)])
		d.buf = d.buf[:len(d.buf)+n]
		if n > 0 {
			d.err = err
			return nil
		}
		if err != nil {
			d.err = err
			return err
		}
	}
	d.err = io.ErrNoProgress
	return d.err
}

// intern returns the name as a string, without allocating for those that come in numbers.
func intern(name []byte) string {
	switch string(name) {
	case TypeTextDelta:
		return TypeTextDelta
	case TypeReasoningDelta:
		return TypeReasoningDelta
	case TypeArgumentsDelta:
		return TypeArgumentsDelta
	}
	return string(name)
}

// typeOf returns the "type" of an event's data.
func typeOf(data []byte) []byte {
	return []byte(gjson.GetBytes(data, "type").Str)
}
