package codex

import (
	"bytes"
	"encoding/json"

	"github.com/tidwall/sjson"

	"codex-proxy/proxy/rawjson"
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
	if item := rawjson.Get(ev.Data, "item"); item.IsObject() {
		it.items = append(it.items, bytes.Clone(rawjson.Raw(item.Raw)))
	}
}

// All returns the items in the order in which they were finished.
func (it *Items) All() []json.RawMessage { return it.items }

// Complete returns the data of the event that ends an answer with its output filled in where it came empty.
func (it *Items) Complete(data []byte) []byte {
	output := rawjson.Get(data, "response.output")
	if came, _ := rawjson.Elements(rawjson.Raw(output.Raw)); len(it.items) == 0 || len(came) > 0 {
		return data
	}
	if output.Index == 0 { // there is none
		out, err := sjson.SetRawBytes(bytes.Clone(data), "response.output", rawjson.AppendList(nil, it.items))
		if err != nil {
			return data
		}
		return out
	}
	size := len(data)
	for _, item := range it.items {
		size += len(item) + 1
	}
	out := append(make([]byte, 0, size), data[:output.Index]...)
	return append(rawjson.AppendList(out, it.items), data[output.Index+len(output.Raw):]...)
}
