package page

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"codex-proxy/internal/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser is what a browser sends, without one.
type browser struct {
	t      *testing.T
	root   string
	cookie *http.Cookie
	token  string
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (b *browser) ask(method, path, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, b.root+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		req.Header.Set("Origin", b.root)
		req.Header.Set("Content-Type", "application/json")
	}
	if b.cookie != nil {
		req.AddCookie(b.cookie)
	}
	req.Header.Set("X-Page-Token", b.token)
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			req.Host = headers[i+1]
		case headers[i+1] == "":
			req.Header.Del(headers[i])
		default:
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(raw)
}

var tokenInPage = regexp.MustCompile(`name="page-token" content="([A-Z0-9]+)"`)

// enter opens the page with a code, as the program does.
func enter(t *testing.T, f *fixture) *browser {
	t.Helper()
	b := &browser{t: t, root: f.root}
	resp, body := b.ask("GET", "/?code="+f.page.sessions.newCode(false), "", "Sec-Fetch-Site", "none", "Accept", "text/html")
	found := tokenInPage.FindStringSubmatch(body)
	if resp.StatusCode != 200 || found == nil || len(resp.Cookies()) != 1 {
		t.Fatalf("not let in: %d %s", resp.StatusCode, body)
	}
	b.cookie, b.token = resp.Cookies()[0], found[1]
	return b
}

func TestACodeOpensThePageOnceAndItsCookieIsForThisBrowserOnly(t *testing.T) {
	f := start(t)
	code := f.page.sessions.newCode(false)
	b := &browser{t: t, root: f.root}
	resp, body := b.ask("GET", "/?code="+code, "", "Accept", "text/html", "Sec-Fetch-Site", "none")
	if resp.StatusCode != 200 || !tokenInPage.MatchString(body) {
		t.Fatalf("the code opens nothing: %d", resp.StatusCode)
	}
	cookie := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie lacks %s: %s", want, cookie)
		}
	}
	resp, body = b.ask("GET", "/?code="+code, "", "Accept", "text/html")
	if resp.StatusCode != 403 || tokenInPage.MatchString(body) || resp.Header.Get("Set-Cookie") != "" || !strings.Contains(body, "has been used") {
		t.Errorf("a used code opens the page: %d %s", resp.StatusCode, body)
	}
}

// TestACookieIsKeptFromItsLastUseOn: the browser must not drop it 30 days after the code.
func TestACookieIsKeptFromItsLastUseOn(t *testing.T) {
	f := start(t)
	b := enter(t, f)
	resp, _ := b.ask("GET", "/", "", "Accept", "text/html")
	if got := resp.Cookies(); len(got) != 1 || got[0].Value != b.cookie.Value || got[0].MaxAge != int(sessionLife/time.Second) || !got[0].HttpOnly {
		t.Errorf("the page brings %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", b.root+"/page/api/events", nil)
	req.AddCookie(b.cookie)
	req.Header.Set("X-Page-Token", b.token)
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if got := stream.Cookies(); stream.StatusCode != 200 || len(got) != 1 || got[0].Value != b.cookie.Value || got[0].MaxAge != int(sessionLife/time.Second) {
		t.Errorf("the stream brings %d %v", stream.StatusCode, got)
	}
}

func TestACodeEndsAfterThirtySecondsAndASessionWhenItIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(time.Now, "")
		early, late := s.newCode(false), s.newCode(false)
		time.Sleep(29 * time.Second)
		cookie, token, ok := s.redeem(early, "", false)
		if !ok || !s.check(cookie, token) {
			t.Error("a code of 29 s is refused")
		}
		time.Sleep(2 * time.Second)
		if _, _, ok := s.redeem(late, "", false); ok {
			t.Error("a code of 31 s is taken")
		}
		if s.check(cookie, token+"x") || s.check("", "") || s.check(cookie, "") {
			t.Error("a wrong token is taken")
		}
		time.Sleep(20 * 24 * time.Hour)
		if !s.check(cookie, token) {
			t.Error("a session in use ends")
		}
		time.Sleep(sessionLife + time.Minute)
		if s.check(cookie, token) || s.known(cookie) {
			t.Error("a session that nobody used goes on")
		}
		for range 10 * mostSession {
			s.redeem(s.newCode(false), "", false)
			s.newCode(false)
		}
		if len(s.open) > mostSession || len(s.codes) > mostCodes {
			t.Errorf("%d sessions and %d codes are held", len(s.open), len(s.codes))
		}
	})
}

func TestWhoIsNotThePageGetsNothing(t *testing.T) {
	f := start(t)
	f.history.Add(history.Record{Time: time.Now(), Client: "secret-client", Status: 200})
	if err := f.history.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads := []string{"/page/api/events", "/page/api/requests", "/page/api/names", "/page/api/usage?by=day", "/page/api/windows", "/page/api/export?format=csv"}
	in := enter(t, f)
	other := *enter(t, f)
	for name, c := range map[string]struct {
		cookie  *http.Cookie
		token   string
		headers []string
		status  int
	}{
		"another user of the machine":              {nil, "", []string{"Sec-Fetch-Site", ""}, 401},
		"a thief of the cookie, at another port":   {in.cookie, "", []string{"Sec-Fetch-Site", ""}, 401},
		"a cookie with another's token":            {in.cookie, other.token, nil, 401},
		"a token without the cookie":               {nil, in.token, nil, 401},
		"a page of another port":                   {in.cookie, in.token, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:3000"}, 403},
		"a page of another port, old browser":      {in.cookie, in.token, []string{"Sec-Fetch-Site", "", "Origin", "http://127.0.0.1:3000"}, 403},
		"a page of another port without Origin":    {in.cookie, in.token, []string{"Sec-Fetch-Site", "same-site", "Origin", ""}, 403},
		"a page of another site":                   {in.cookie, in.token, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"a page without an origin":                 {in.cookie, in.token, []string{"Sec-Fetch-Site", "", "Origin", "null"}, 403},
		"an address typed into the browser":        {in.cookie, in.token, []string{"Sec-Fetch-Site", "none"}, 403},
		"a name that was made to resolve to us":    {in.cookie, in.token, []string{"Host", "evil.example", "Origin", "http://evil.example"}, 421},
		"a name that ends like one of ours":        {in.cookie, in.token, []string{"Host", "localhost.evil.example:80", "Origin", "http://localhost.evil.example"}, 421},
		"an app's origin that the proxy may allow": {in.cookie, in.token, []string{"Origin", "app://obsidian.md"}, 403},
	} {
		b := &browser{t: t, root: f.root, cookie: c.cookie, token: c.token}
		for _, path := range reads {
			resp, body := b.ask("GET", path, "", c.headers...)
			if resp.StatusCode != c.status || strings.Contains(body, "secret-client") || strings.Contains(body, "demo@example.com") {
				t.Errorf("%s: GET %s gets %d %.80s, want %d", name, path, resp.StatusCode, body, c.status)
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s may read %s", name, path)
			}
		}
		if resp, _ := b.ask("POST", "/page/api/do/stop", "{}", c.headers...); resp.StatusCode != 403 && resp.StatusCode != 401 && resp.StatusCode != 421 {
			t.Errorf("%s: stop gets %d", name, resp.StatusCode)
		}
	}
	b := *in
	for name, c := range map[string]struct {
		method, body string
		headers      []string
		status       int
	}{
		"a form":                   {"POST", "{}", []string{"Content-Type", "text/plain"}, 415},
		"another form":             {"POST", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"no origin":                {"POST", "{}", []string{"Origin", ""}, 403},
		"a read that changes":      {"GET", "", nil, 405},
		"no JSON":                  {"POST", "{", nil, 400},
		"more than anybody writes": {"POST", `"` + strings.Repeat("x", 100_000) + `"`, nil, 400},
	} {
		if resp, _ := b.ask(c.method, "/page/api/do/stop", c.body, c.headers...); resp.StatusCode != c.status {
			t.Errorf("%s gets %d, want %d", name, resp.StatusCode, c.status)
		}
	}
	if len(f.app.done) > 0 {
		t.Errorf("something was done: %v", f.app.done)
	}
	if resp, _ := in.ask("POST", "/page/api/do/stop", "{}"); resp.StatusCode != 200 || !f.app.did("stop {}") {
		t.Errorf("the page itself gets %d", resp.StatusCode)
	}
}

func TestThePlainPageTellsNothingButHowToOpenIt(t *testing.T) {
	f := start(t)
	b := &browser{t: t, root: f.root}
	for _, path := range []string{"/", "/?code=", "/?code=WRONG"} {
		resp, body := b.ask("GET", path, "", "Accept", "text/html,*/*", "Sec-Fetch-Site", "none")
		if resp.StatusCode != 403 || !strings.Contains(body, "codex-proxy open") || strings.Contains(body, "demo@example.com") || strings.Contains(body, "app.js") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for name, headers := range map[string][]string{"frame": {"Sec-Fetch-Dest", "iframe"}, "link from another site": {"Sec-Fetch-Site", "cross-site"}, "link from another port": {"Sec-Fetch-Site", "same-site"}} {
		code := f.page.sessions.newCode(false)
		if resp, _ := b.ask("GET", "/?code="+code, "", append([]string{"Accept", "text/html", "Sec-Fetch-Site", "none"}, headers...)...); resp.StatusCode != 403 || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("a code in a %s is taken", name)
		}
	}
	resp, body := b.ask("GET", "/", "", "Accept", "application/json")
	if resp.StatusCode != 200 || body != "for programs" {
		t.Errorf("a program that asks for / gets %d %s", resp.StatusCode, body)
	}
}

func TestAPageThatMovesIsLetInAtItsNewAddressOnce(t *testing.T) {
	f := start(t)
	before := enter(t, f)
	_, moving, _ := strings.Cut(f.page.Move(f.root), "/?code=")
	for name, headers := range map[string][]string{"a frame": {"Sec-Fetch-Dest", "iframe"}, "a script": {"Sec-Fetch-Dest", "empty"}} {
		if resp, body := before.ask("GET", "/?code="+moving, "", append([]string{"Accept", "text/html", "Sec-Fetch-Site", "same-site"}, headers...)...); resp.Header.Get("Set-Cookie") != "" || tokenInPage.MatchString(body) {
			t.Errorf("%s is let in", name)
		}
	}
	for n, want := range []int{200, 403} {
		b := &browser{t: t, root: f.root}
		if n == 0 {
			b.cookie = before.cookie
		}
		resp, body := b.ask("GET", "/?code="+moving, "", "Accept", "text/html", "Sec-Fetch-Site", "same-site", "Sec-Fetch-Dest", "document")
		if resp.StatusCode != want || tokenInPage.MatchString(body) != (n == 0) {
			t.Errorf("time %d gets %d", n, resp.StatusCode)
		}
	}
	if resp, _ := before.ask("GET", "/page/api/names", ""); resp.StatusCode != 401 {
		t.Errorf("the browser has two sessions: its first one gets %d", resp.StatusCode)
	}
}

func TestEveryAnswerHasTheHeadersThatKeepOthersOut(t *testing.T) {
	f := start(t)
	b := enter(t, f)
	for _, path := range []string{"/", "/page/app.js", "/page/app.css", "/page/nothing", "/page/api/requests", "/page/api/do/nothing"} {
		resp, _ := b.ask("GET", path, "", "Accept", "text/html")
		h := resp.Header
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %q", path, policy)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	_, shell := b.ask("GET", "/", "", "Accept", "text/html")
	if regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|style=|\son\w+=`).MatchString(shell) {
		t.Errorf("the shell has something inline: %s", shell)
	}
}

func TestActionsAnswerWithResultsAndSentences(t *testing.T) {
	f := start(t)
	b := enter(t, f)
	f.app.actions[ActionRefresh] = func(json.RawMessage) (any, error) { return nil, errOffline }
	f.app.actions[ActionKeyCreate] = func(args json.RawMessage) (any, error) { return NewKey{"cp-" + string(args)}, nil }
	for _, c := range []struct {
		action, args string
		status       int
		want         string
	}{
		{"refresh", "{}", 422, errOffline.Error()},
		{"key-create", `{"name":"x"}`, 200, `cp-{\"name\":\"x\"}`},
		{"sign-out", "{}", 200, "{}"},
		{"no-such-thing", "{}", 404, "can't do that"},
		{"delete-history", "{}", 200, "deleted"},
	} {
		resp, body := b.ask("POST", "/page/api/do/"+c.action, c.args)
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.action, resp.StatusCode, body, c.status, c.want)
		}
	}
}

// follow reads the stream of an open page.
func follow(t *testing.T, b *browser) (events <-chan string, leave func()) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", b.root+"/page/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(b.cookie)
	req.Header.Set("X-Page-Token", b.token)
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("no stream: %v %v", resp, err)
	}
	ch := make(chan string, 100)
	go func() {
		defer close(ch)
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for event := ""; lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			} else if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				ch <- event + " " + data
			}
		}
	}()
	return ch, func() { resp.Body.Close() }
}

func next(t *testing.T, events <-chan string, want string) string {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the stream ended before %q", want)
			}
			if strings.Contains(e, want) {
				return e
			}
		case <-deadline:
			t.Fatalf("no event with %q", want)
		}
	}
}

func TestAnOpenPageHearsOfChangesAndAClosedOneCostsNothing(t *testing.T) {
	f := start(t)
	b := enter(t, f)
	if f.app.subscribers() != 0 {
		t.Error("somebody listens though no page is open")
	}
	events, leave := follow(t, b)
	first := next(t, events, "snapshot ")
	if !strings.Contains(first, `"outlook":"`) {
		t.Errorf("the windows have no outlook: %s", first)
	}
	f.app.update(func(s *Snapshot) { s.Running = false })
	next(t, events, `"running":false`)
	f.history.Add(history.Record{Time: time.Now(), Client: "x", Status: 200})
	next(t, events, "requests 1")
	for range 1000 { // come as a few, and the last is told
		f.app.update(func(s *Snapshot) { s.Version += "x" })
	}
	f.app.update(func(s *Snapshot) { s.Version = "the last" })
	next(t, events, "the last")
	leave()
	deadline := time.Now().Add(10 * time.Second)
	for f.app.subscribers() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("a page that left is still listened for")
		}
		time.Sleep(time.Millisecond)
	}
	events, leave = follow(t, b)
	defer leave()
	next(t, events, "snapshot")
	f.page.Disconnect()
	for range events { // until it ends
	}
}

// Who waits at the page for a window to reset sees it, though nothing else changes.
func TestAnOpenPageHearsOfAReset(t *testing.T) {
	f := start(t)
	f.app.update(func(s *Snapshot) {
		s.Windows = []Window{{Name: "weekly", Used: 50, ResetsAt: time.Now().Add(time.Hour)}, {Name: "5-hour", Used: 100, Length: 5 * time.Hour, ResetsAt: time.Now().Add(time.Second)}}
	})
	events, leave := follow(t, enter(t, f))
	defer leave()
	next(t, events, "Full until")
	next(t, events, "It has reset")
}

func TestExportsHaveWhatTheHistoryHas(t *testing.T) {
	f := start(t)
	b := enter(t, f)
	if err := history.FillDemo(f.history, time.Now()); err != nil {
		t.Fatal(err)
	}
	all, err := f.history.Requests(t.Context(), history.Filter{Client: "Zed"}, 1e6)
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	_, body := b.ask("GET", "/page/api/export?format=csv&client=Zed", "")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(rows) != len(all)+1 {
		t.Errorf("%d rows for %d requests (%v)", len(rows), len(all), err)
	}
	_, body = b.ask("GET", "/page/api/export?format=json&client=Zed", "")
	var list []map[string]any
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != len(all) || list[0]["input_tokens"] != float64(all[0].InputTokens) {
		t.Errorf("%d records for %d requests (%v)", len(list), len(all), err)
	}
	_, body = b.ask("GET", "/page/api/export?what=usage&by=day&since=7d&format=csv", "")
	u, err := f.history.Usage(t.Context(), history.UsageQuery{By: history.ByDay, Since: time.Now().Add(-7 * 24 * time.Hour)})
	var want bytes.Buffer
	if err != nil || u.Write(&want, history.CSV) != nil || body != want.String() {
		t.Errorf("sums are exported as %s", body)
	}
	for _, wrong := range []string{"export?format=xml", "usage?by=year", "requests?since=yesterday"} {
		if resp, _ := b.ask("GET", "/page/api/"+wrong, ""); resp.StatusCode != 422 {
			t.Errorf("%s gets %d", wrong, resp.StatusCode)
		}
	}
}

func TestWithoutAHistoryThereIsNone(t *testing.T) {
	f := start(t)
	f.page.config.History = nil
	b := enter(t, f)
	if resp, _ := b.ask("GET", "/page/api/requests", ""); resp.StatusCode != 404 {
		t.Errorf("requests get %d", resp.StatusCode)
	}
	events, leave := follow(t, b)
	defer leave()
	if e := next(t, events, "snapshot"); strings.Contains(e, `"history"`) {
		t.Errorf("there is one in %s", e)
	}
}

func TestTheBundleIsSmall(t *testing.T) {
	p := load()
	total := 0
	for _, a := range p.assets {
		total += len(a.small)
	}
	t.Logf("%d bytes gzipped", total)
	if total > 80_000 {
		t.Errorf("%d bytes gzipped", total)
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range p.assets {
			if !yield(name) {
				return
			}
		}
	})
	if strings.Join(names, " ") != "app.css app.js icon.svg licenses.txt" {
		t.Errorf("it has %v", names)
	}
	if addresses := regexp.MustCompile(`https?://[a-z0-9.-]+`).FindAllString(string(p.assets["app.js"].plain)+string(p.assets["app.css"].plain), -1); len(addresses) > 0 {
		for _, a := range addresses {
			if u, err := url.Parse(a); err == nil && u.Host != "www.w3.org" {
				t.Errorf("it names %s", a)
			}
		}
	}
}
