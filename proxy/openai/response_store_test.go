package openai

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"codex-proxy/proxy/codex"
)

// TestAConversationMayGoOnForLongerThanAnAnswerIsKept: each turn needs all that came before it.
func TestAConversationMayGoOnForLongerThanAnAnswerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storeScope{ResponseStore: NewResponseStore()}
		previous, item := "", `{"type":"message","id":"msg_0"}`
		for i := range 12 {
			if before, err := store.before(previous); err != nil || len(before) != 2*i {
				t.Fatalf("after %d turns: %d items, %v", i, len(before), err)
			}
			if reference := []json.RawMessage{json.RawMessage(`{"type":"item_reference","id":"msg_0"}`)}; i > 0 {
				if err := store.resolve(reference); err != nil || string(reference[0]) != item {
					t.Fatalf("after %d turns: %s, %v", i, reference[0], err)
				}
			}
			output := &codex.Items{}
			output.Add(codex.Event{Type: codex.TypeItemDone, Data: fmt.Appendf(nil, `{"item":{"type":"message","id":"msg_%d"}}`, i)})
			id := fmt.Sprintf("resp_%d", i)
			store.keep(&turn{previous: previous, own: []json.RawMessage{json.RawMessage(`{}`)}}, output, []byte(`{"id":"`+id+`"}`))
			previous = id
			time.Sleep(30 * time.Minute)
		}
		time.Sleep(2 * time.Hour)
		if _, err := store.before(previous); err == nil {
			t.Error("it is kept although nothing has used it for two hours")
		}
	})
}
