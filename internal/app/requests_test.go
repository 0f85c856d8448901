package app

import (
	"net/http"
	"testing"

	"codex-proxy/proxy"
)

// TestTheLastFailureIsOneThatSomebodyFeels: not one after which the caller's SDK sends the request again.
func TestTheLastFailureIsOneThatSomebodyFeels(t *testing.T) {
	for _, c := range []struct {
		r    proxy.Record
		told bool
	}{
		{proxy.Record{Status: http.StatusOK}, false},
		{proxy.Record{Status: http.StatusNotFound, Code: "thread_not_found", Resent: true}, false},
		{proxy.Record{Status: http.StatusNotFound, Code: "model_not_found"}, true},
	} {
		a := &App{}
		a.noteRequest(c.r)
		if a.failed.Time.IsZero() == c.told {
			t.Errorf("%+v is told: %t", c.r, !c.told)
		}
	}
}
