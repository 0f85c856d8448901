package codex

import (
	"bytes"
	"encoding/json"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// Items collects the finished output items of an answer, since the event that ends it often comes with an empty list.
type Items struct {
	items []json.RawMessage
}

// Add takes an event; those that are not a finished item are passed over.
func (it *Items) Add(ev Event) {
	if ev.Type != TypeItemDone {
		return
	}
	if item := gjson.GetBytes(ev.Data, "item"); item.IsObject() {
		it.items = append(it.items, json.RawMessage(item.Raw))
	}
}

// All returns the items in the order in which they were finished.
func (it *Items) All() []json.RawMessage { return it.items }

// Complete returns the data of the event that ends an answer with its output filled in where it came empty.
func (it *Items) Complete(data []byte) []byte {
	if len(it.items) == 0 || len(gjson.GetBytes(data, "response.output").Array()) > 0 {
		return data
	}
	b := bodyWriter{buf: []byte("[")}
	for i, item := range it.items {
		if i > 0 {
			b.buf = append(b.buf, ',')
		}
		b.buf = append(b.buf, item...)
	}
	out, err := sjson.SetRawBytes(bytes.Clone(data), "response.output", append(b.buf, ']'))
	if err != nil {
		return data
	}
	return out
}
