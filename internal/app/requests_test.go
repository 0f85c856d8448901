package app

import (
	"net/http"
	"testing"

	"codex-proxy/proxy"
	"codex-proxy/proxy/anthropic"
)

// TestTheLastFailureIsOneThatSomebodyFeels: at a thread that is not kept, Anthropic's SDKs send the whole conversation.
func TestTheLastFailureIsOneThatSomebodyFeels(t *testing.T) {
	for code, told := range map[string]bool{"": false, anthropic.ThreadNotFound: false, "model_not_found": true} {
		a := &App{}
		r := proxy.Record{Status: http.StatusNotFound}
		r.Code = code
		a.noteRequest(r)
		if a.failed.Time.IsZero() == told {
			t.Errorf("%q is told: %t", code, !told)
		}
	}
}
