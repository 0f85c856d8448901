//go:build !js

package codex

import (
	"testing"

	"github.com/tidwall/gjson"
)

// TestTheDigestOfAnItemTellsItsWords, however they are written.
func TestTheDigestOfAnItemTellsItsWords(t *testing.T) {
	said := func(content string) digest {
		return sumItem(gjson.Parse(`{"type":"message","role":"assistant","content":` + content + `}`))
	}
	if said(`"A"`) == said(`"B"`) || said(`[{"type":"x","a":1}]`) == said(`[{"type":"x","a":2}]`) || said(`[{"type":"output_text","text":"A"}]`) == said(`[{"type":"output_text","text":"B"}]`) {
		t.Error("two messages have one digest")
	}
	if said(`"A"`) != said(`[{"type":"output_text","text":"A","annotations":[]}]`) || said(`[{"type":"refusal","refusal":"no"}]`) != said(`"no"`) {
		t.Error("a message has two digests")
	}
}
