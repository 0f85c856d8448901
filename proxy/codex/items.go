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

// Complete returns the data of the event that ends an answer, in pieces, with its output filled in where it came empty. The
// pieces are parts of data and the items themselves: an answer may be long.
func (it *Items) Complete(data []byte) [][]byte { return it.fill(data, "response.output") }

// CompleteObject is Complete for a response object by itself.
func (it *Items) CompleteObject(object []byte) [][]byte { return it.fill(object, "output") }

func (it *Items) fill(data []byte, path string) [][]byte {
	output := rawjson.Get(data, path)
	if came, _ := rawjson.Elements(rawjson.Raw(output.Raw)); len(it.items) == 0 || len(came) > 0 {
		return [][]byte{data}
	}
	if output.Index == 0 { // there is none
		out, err := sjson.SetRawBytes(bytes.Clone(data), path, rawjson.AppendList(nil, it.items))
		if err != nil {
			return [][]byte{data}
		}
		return [][]byte{out}
	}
	pieces := make([][]byte, 0, 2*len(it.items)+3)
	pieces = append(pieces, data[:output.Index], []byte("["))
	for i, item := range it.items {
		if i > 0 {
			pieces = append(pieces, []byte(","))
		}
		pieces = append(pieces, item)
	}
	return append(pieces, []byte("]"), data[output.Index+len(output.Raw):])
}
