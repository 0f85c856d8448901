package login

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// FuzzCallback sends any query to the page that waits for the browser: only the one with the right state and a code is
// an answer, and nothing that was sent is shown.
func FuzzCallback(f *testing.F) {
	f.Add("code=x&state=y")
	f.Add("error=<script>&state=right")
	f.Add("code=ac_1&state=right")
	f.Fuzz(func(t *testing.T, query string) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		c := newCallback("right", listener)
		defer c.server.Close()
		c.finish(nil)
		r := httptest.NewRequest(http.MethodGet, "/auth/callback", nil)
		r.URL.RawQuery, r.Host = query, c.host
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		q, _ := url.ParseQuery(query)
		right := q.Get("state") == "right" && (q.Get("code") != "" || q.Get("error") != "")
		if (w.Code == http.StatusOK) != right {
			t.Errorf("%q: %d", query, w.Code)
		}
		select {
		case <-c.answer:
			if !right {
				t.Errorf("%q was taken for an answer", query)
			}
		default:
			if right {
				t.Errorf("%q was not taken", query)
			}
		}
	})
}
