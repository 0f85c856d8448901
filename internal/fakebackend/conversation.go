package fakebackend

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"
)

// Conversation is how the prompts of a conversation followed on each other. The backend reuses what it has computed for
// the beginning that a prompt shares with an earlier one of the same prompt_cache_key.
type Conversation struct {
	Requests int `json:"requests"`
	Keys     int `json:"keys"`   // values of prompt_cache_key
	Broken   int `json:"broken"` // prompts that do not begin with the whole of the one before
	Bytes    int `json:"bytes"`  // of the prompts after the first
	Shared   int `json:"shared"` // of those, the bytes with which the one before began as well
}

// Conversation looks at the requests that hold a mark, and offer tools: others are asked beside a conversation, for a
// title or the like.
func (b *Backend) Conversation(mark string) Conversation {
	var c Conversation
	var before []byte
	keys := map[string]bool{}
	for _, r := range b.Requests("/responses") {
		doc := gjson.ParseBytes(r.Body)
		if !bytes.Contains(r.Body, []byte(mark)) || !offersTools(doc) {
			continue
		}
		now := prompt(doc)
		if c.Requests++; c.Requests > 1 {
			n := shared(before, now)
			c.Bytes, c.Shared = c.Bytes+len(now), c.Shared+n
			if n < len(before) {
				c.Broken++
			}
		}
		before, keys[doc.Get("prompt_cache_key").Str] = now, true
	}
	c.Keys = len(keys)
	return c
}

func offersTools(doc gjson.Result) bool {
	return len(doc.Get("tools").Array()) > 0 || doc.Get(`input.#(type=="additional_tools")`).Exists()
}

// prompt is what the model reads, in the order in which it does.
func prompt(doc gjson.Result) []byte {
	var all strings.Builder
	all.WriteString(doc.Get("tools").Raw + doc.Get("instructions").Raw)
	for _, item := range doc.Get("input").Array() {
		all.WriteString(item.Raw)
	}
	return []byte(all.String())
}

// shared is how many bytes a and b begin with alike.
func shared(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
