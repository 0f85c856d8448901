package anthropic

import (
	"testing"

	"codex-proxy/proxy/codex"
)

// FuzzMessages reads any body: an error, or a request that can be counted, and never a crash.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"model":"claude-x","max_tokens":1,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"aGk="}},{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x"}]}]},{"role":"assistant","content":[{"type":"thinking","signature":"codex-proxy.Zw.x"},{"type":"tool_use","id":"t","name":"n","input":{}}]}],"tools":[{"name":"n"}],"thinking":{"type":"enabled","budget_tokens":1},"stop_sequences":["a"]}`))
	f.Add([]byte(`{"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"any"},"output_config":{"effort":"low","format":null}}`))
	h := &Handler{Client: &codex.Client{Models: codex.NewCatalogue("", nil)}, Reasoning: codex.NewReasoningCache()}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := h.parse(nil, body)
		if err == nil && r.Estimate() < 0 {
			t.Error("a negative estimate")
		}
	})
}
