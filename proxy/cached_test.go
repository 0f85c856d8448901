package proxy

import (
	"strings"
	"testing"
)

// TestCachedTokensReachTheUsageOfEveryDialect, streamed or not.
func TestCachedTokensReachTheUsageOfEveryDialect(t *testing.T) {
	events := event("response.created", `{"response":{"id":"resp_1"}}`) + event("response.output_text.delta", `{"output_index":0,"delta":"Hello"}`) +
		event("response.completed", `{"response":{"id":"resp_1","status":"completed","output":[],"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":64},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":107}}}`)
	r := newRig(t, upstream(events))
	for dialect, want := range map[string][]string{
		"chat":        {`"prompt_tokens":100`, `"prompt_tokens_details":{"cached_tokens":64}`, `"completion_tokens":7`},
		"completions": {`"prompt_tokens":100`, `"prompt_tokens_details":{"cached_tokens":64}`, `"completion_tokens":7`},
		"responses":   {`"input_tokens":100`, `"input_tokens_details":{"cached_tokens":64}`, `"output_tokens":7`},
		"messages":    {`"input_tokens":36`, `"cache_read_input_tokens":64`, `"output_tokens":7`},
		"gemini":      {`"promptTokenCount":100`, `"cachedContentTokenCount":64`, `"candidatesTokenCount":4`},
		"array":       {`"promptTokenCount":100`, `"cachedContentTokenCount":64`, `"candidatesTokenCount":4`},
		"ollama":      {`"prompt_eval_count":100`, `"prompt_eval_cached_count":64`, `"eval_count":7`},
		"generate":    {`"prompt_eval_count":100`, `"prompt_eval_cached_count":64`, `"eval_count":7`},
	} {
		for _, stream := range []bool{false, true} {
			var more []string
			if stream && (dialect == "chat" || dialect == "completions") {
				more = []string{`"stream_options":{"include_usage":true}`}
			}
			_, text, err := r.ask(dialect, "Hello there", stream, more...)
			for _, part := range want {
				if err != nil || !strings.Contains(text, part) {
					t.Errorf("%s, stream %v: no %s in %s (%v)", dialect, stream, part, text, err)
				}
			}
		}
	}
}
