package gemini

import (
	"testing"

	"codex-proxy/proxy/codex"
)

// FuzzGemini reads any body: an error, or a request that can be counted, and never a crash.
func FuzzGemini(f *testing.F) {
	f.Add([]byte(`{"system_instruction":{"parts":[{"text":"s"}]},"contents":[{"parts":[{"text":"x"},{"inline_data":{"mime_type":"image/png","data":"aGk"}}]},{"role":"model","parts":[{"thoughtSignature":"Y29kZXg","functionCall":{"name":"n","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"n","response":{"output":1}}}]}],"tools":[{"functionDeclarations":[{"name":"n","parameters":{"type":"OBJECT","nullable":true,"properties":{"a":{"anyOf":[{"type":"STRING"}]}},"propertyOrdering":["a"]}}]},{"googleSearch":{}}],"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}`))
	f.Add([]byte(`{"contents":"x","generationConfig":{"stopSequences":["a"],"thinkingConfig":{"thinkingBudget":0},"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["a"],"maxLength":"5"},"candidateCount":1}}`))
	h := &Handler{Client: &codex.Client{Models: codex.NewCatalogue("", nil)}, Reasoning: codex.NewReasoningCache()}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := h.parse("gpt-5.5", body)
		if err == nil && r.Estimate() < 0 {
			t.Error("a negative estimate")
		}
	})
}
