package reply

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"codex-proxy/proxy/codex"
)

func TestAStreamThatWasWithdrawnWritesNothing(t *testing.T) {
	w := httptest.NewRecorder()
	s := NewStream(w, SSE)
	if !s.Withdraw() {
		t.Fatal("nothing was sent, and it can't be withdrawn")
	}
	s.KeepAlive(nil, Comment)
	s.Send([]byte("x"), false) //nolint:errcheck // see below
	WriteError(w, codex.Invalid("x", "wrong"), []byte("{}"))
	if w.Code != 400 || w.Body.String() != "{}\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestAStreamThatBeganCantBeWithdrawn(t *testing.T) {
	w := httptest.NewRecorder()
	s := NewStream(w, SSE)
	s.KeepAlive([]byte("opening "), Comment)
	s.SendAfter([]byte("opening "), []byte("x"), true) //nolint:errcheck // see below
	if s.Withdraw() || !s.Began() {
		t.Error("it was withdrawn")
	}
	s.End([]byte(" end")) //nolint:errcheck // see below
	s.KeepAlive(nil, Comment)
	if got := w.Body.String(); got != "opening "+string(Comment)+"x end" {
		t.Errorf("%q", got)
	}
}

func TestKeepAlivesAndTheEndDoNotRace(t *testing.T) {
	for range 100 {
		w := httptest.NewRecorder()
		s := NewStream(w, SSE)
		var wait sync.WaitGroup
		wait.Go(func() { s.KeepAlive(nil, Comment) })
		wait.Go(func() {
			if s.Withdraw() {
				WriteError(w, codex.Broken(), []byte("{}"))
			} else {
				s.End([]byte("data: error\n\n")) //nolint:errcheck // see below
			}
		})
		wait.Wait()
		if got := w.Body.String(); got != "{}\n" && got != string(Comment)+"data: error\n\n" {
			t.Fatalf("%q", got)
		}
	}
}

func TestAnAnswerThatBreaksEndsOnceOnly(t *testing.T) {
	event := func(e *codex.Error) []byte { return []byte(e.Code) }
	for name, c := range map[string]struct {
		began     bool
		err       error
		http, cut bool
		body      string
	}{
		"before the first byte": {false, codex.Broken(), true, false, ""},
		"after it":              {true, codex.Broken(), false, true, "xupstream_disconnected"},
		"joined with others":    {true, errors.Join(codex.Stopped(), errors.New("gone")), false, true, "xproxy_stopping"},
		"the caller has gone":   {true, errors.New("gone"), false, false, "x"},
	} {
		w := httptest.NewRecorder()
		s := NewStream(w, SSE)
		if c.began {
			s.Send([]byte("x"), false) //nolint:errcheck // see below
		}
		var out Outcome
		e := out.Break(s, &codex.Request{}, c.err, event)
		if (e != nil) != c.http || out.Cut != c.cut || w.Body.String() != c.body || out.Gone != (out.Err == nil) {
			t.Errorf("%s: %v %+v %q", name, e, out, w.Body)
		}
	}
	var out Outcome
	if e := out.Break(nil, nil, codex.Broken(), event); e == nil || out.Cut {
		t.Errorf("an answer that is not streamed: %v", e)
	}
}

func TestAPanicOnAGoroutineIsAnError(t *testing.T) {
	for _, n := range []int{1, 3} {
		err := Parallel(n, func(i int) error {
			if i == n-1 {
				panic("secret words")
			}
			return nil
		})
		var e *codex.Error
		if !errors.As(err, &e) || e.Code != "internal_error" || !strings.Contains(string(e.Stack), "reply_test.go") || strings.Contains(e.Message, "secret") {
			t.Errorf("%d: %v", n, err)
		}
	}
	if err := Parallel(2, func(int) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestStopSequencesAreBounded(t *testing.T) {
	for raw, want := range map[string]int{`"x"`: 1, `["a","","b"]`: 2, `[]`: 0, `""`: 0, `5`: -1, `{"a":1}`: -1, `["` + strings.Repeat("x", stopLength+1) + `"]`: -1, `[` + strings.TrimSuffix(strings.Repeat(`"x",`, mostStops+1), ",") + `]`: -1} {
		list, err := Stops("stop", json.RawMessage(raw))
		if (err != nil) != (want < 0) || (err == nil && len(list) != want) {
			t.Errorf("%.40s: %v %v", raw, list, err)
		}
	}
}

func TestErrorsSayWhenToTryAgainWhereThatHelps(t *testing.T) {
	for _, c := range []struct {
		status int
		after  time.Duration
		want   string
	}{{503, 1500 * time.Millisecond, "2"}, {429, time.Second, "1"}, {403, time.Minute, ""}, {503, 0, ""}} {
		w := httptest.NewRecorder()
		WriteError(w, &codex.Error{Status: c.status, RetryAfter: c.after}, []byte("{}"))
		if got := w.Header().Get("Retry-After"); got != c.want || w.Code != c.status {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestWhatTheBackendSaysOfLimitsIsPassedOn(t *testing.T) {
	h := http.Header{}
	var dropped codex.Request
	dropped.Drop("temperature")
	Announce(h, dropped.Dropped, http.Header{"X-Codex-Primary-Used-Percent": {"5"}, "Set-Cookie": {"secret"}, "X-Request-Id": {"req"}, "Openai-Model": {"m"}})
	if h.Get(DroppedHeader) != "temperature" || h.Get("X-Codex-Primary-Used-Percent") != "5" || h.Get("Set-Cookie") != "" || h.Get("X-Request-Id") != "req" {
		t.Errorf("%v", h)
	}
}

func TestObjectSaysWhereABodyIsWrong(t *testing.T) {
	for _, body := range []string{"", "null", "[]", `"x"`, "{", `{"a":}`, "\x00"} {
		_, err := Object([]byte(body))
		var e *codex.Error
		if !errors.As(err, &e) || e.Status != 400 || e.Code != "invalid_json" {
			t.Errorf("%q: %v", body, err)
		}
	}
}
