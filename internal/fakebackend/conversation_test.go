package fakebackend

import "testing"

func TestAConversationIsMeasuredByWhatItsPromptsShare(t *testing.T) {
	const tools = `"tools":[{"type":"function","name":"f"}]`
	ask := func(key, instructions, input string) string {
		return `{"prompt_cache_key":"` + key + `","instructions":"` + instructions + `","input":[` + input + `],` + tools + `}`
	}
	const first, second = `{"role":"user","content":"mark"}`, `{"role":"user","content":"more"}`
	for what, c := range map[string]struct {
		bodies []string
		want   Conversation // without bytes
	}{
		"one that grows":              {[]string{ask("k", "i", first), ask("k", "i", first+","+second)}, Conversation{Requests: 2, Keys: 1}},
		"one with another key":        {[]string{ask("k", "i", first), ask("l", "i", first+","+second)}, Conversation{Requests: 2, Keys: 2}},
		"other instructions":          {[]string{ask("k", "i", first), ask("k", "j", first+","+second)}, Conversation{Requests: 2, Keys: 1, Broken: 1}},
		"one whose end was rewritten": {[]string{ask("k", "i", first+","+second), ask("k", "i", first)}, Conversation{Requests: 2, Keys: 1, Broken: 1}},
		"a title beside it":           {[]string{ask("k", "i", first), `{"prompt_cache_key":"t","input":[` + first + `]}`}, Conversation{Requests: 1, Keys: 1}},
		"another's":                   {[]string{ask("k", "i", second)}, Conversation{}},
	} {
		b := New()
		for _, body := range c.bodies {
			b.requests = append(b.requests, Request{Path: "/backend-api/codex/responses", Body: []byte(body)})
		}
		got := b.Conversation("mark")
		if whole := len(`[{"type":"function","name":"f"}]"i"` + first); what == "one that grows" && (got.Shared != whole || got.Bytes != whole+len(second)) {
			t.Errorf("%d of %d bytes are shared, want %d", got.Shared, got.Bytes, whole)
		}
		if got.Bytes, got.Shared = 0, 0; got != c.want {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
