package ollama

import (
	"testing"

	"codex-proxy/proxy/codex"
)

// FuzzOllama reads any body: an error, or a request that can be counted, and never a crash.
func FuzzOllama(f *testing.F) {
	f.Add([]byte(`{"model":"gpt-5.5:latest","messages":[{"role":"user","content":"x","images":["aGk="]},{"role":"assistant","tool_calls":[{"function":{"name":"n","arguments":{"a":1}}}]},{"role":"tool","tool_name":"n","content":"y"}],"tools":[{"function":{"name":"n"}}],"options":{"stop":["a"],"seed":1},"think":"high","format":{"type":"object"}}`), true)
	f.Add([]byte(`{"prompt":"x","suffix":"y","images":["data:image/png;base64,aGk="],"format":"json","think":false}`), false)
	h := &Handler{Client: &codex.Client{Models: codex.NewCatalogue("", nil)}, Reasoning: codex.NewReasoningCache()}
	f.Fuzz(func(t *testing.T, body []byte, chat bool) {
		r, err := h.parse(body, chat)
		if err == nil && r.Estimate() < 0 {
			t.Error("a negative estimate")
		}
	})
}
