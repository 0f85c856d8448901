package codex

import (
	"slices"
	"strconv"
	"strings"
)

// Dropped is what a caller sent and the backend does not get: the first by name, the rest by number, so that neither
// work nor memory grows faster than a body that holds nothing else.
type Dropped struct {
	Names []string
	More  int
}

const (
	droppedNames = 64   // kept by name
	droppedName  = 80   // bytes of one
	droppedMost  = 1000 // bytes of all in a header or a message
)

func (d *Dropped) add(name string) {
	if len(name) > droppedName {
		name = strings.ToValidUTF8(name[:droppedName], "") + "…"
	}
	switch {
	case slices.Contains(d.Names, name):
	case len(d.Names) < droppedNames:
		d.Names = append(d.Names, strings.Clone(name)) // it may be a part of the request, which is not to be kept
	default:
		d.More++
	}
}

// Empty reports whether nothing was dropped.
func (d Dropped) Empty() bool { return len(d.Names) == 0 }

// String is the names, in at most 1 kB, then "and N more". It is fit for a header: what can't be printed there is a
// question mark.
func (d Dropped) String() string {
	b := make([]byte, 0, 64)
	for i, name := range d.Names {
		if len(b)+len(name)+2 > droppedMost {
			d.More += len(d.Names) - i
			break
		}
		if i > 0 {
			b = append(b, ", "...)
		}
		for _, c := range []byte(name) {
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			b = append(b, c)
		}
	}
	if d.More > 0 {
		b = strconv.AppendInt(append(b, " and "...), int64(d.More), 10)
		b = append(b, " more"...)
	}
	return string(b)
}
