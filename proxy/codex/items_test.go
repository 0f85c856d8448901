package codex

import (
	"bytes"
	"testing"
)

func TestAnOutputIsFilledInWhereItCameEmpty(t *testing.T) {
	var items Items
	for _, item := range []string{`{"id":"a"}`, `{"id":"b"}`} {
		items.Add(Event{Type: TypeItemDone, Data: []byte(`{"type":"response.output_item.done","item":` + item + `}`)})
	}
	items.Add(Event{Type: TypeTextDelta, Data: []byte(`{"item":{"id":"c"}}`)})
	const filled = `"output":[{"id":"a"},{"id":"b"}]`
	for in, want := range map[string]string{
		`{"output":[],"x":1}`:           `{` + filled + `,"x":1}`,
		`{"x":1,"output":[ ]}`:          `{"x":1,` + filled + `}`,
		`{"output":null}`:               `{` + filled + `}`,
		`{"x":1}`:                       `{"x":1,` + filled + `}`,
		`{"output":[{"id":"d"}],"x":1}`: `{"output":[{"id":"d"}],"x":1}`,
	} {
		if got := bytes.Join(items.CompleteObject([]byte(in)), nil); string(got) != want {
			t.Errorf("%s became %s, not %s", in, got, want)
		}
		event := func(object string) string { return `{"response":` + object + `,"type":"response.completed"}` }
		if got := bytes.Join(items.Complete([]byte(event(in))), nil); string(got) != event(want) {
			t.Errorf("%s became %s, not %s", event(in), got, event(want))
		}
		var none Items
		if got := bytes.Join(none.CompleteObject([]byte(in)), nil); string(got) != in {
			t.Errorf("without items %s became %s", in, got)
		}
	}
}
