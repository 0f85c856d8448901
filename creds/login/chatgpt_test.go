package login

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
)

const host = "urn:uuid:00000000-0000-4000-8000-000000000000"

// newLogin returns a Login at a stand-in.
func newLogin(t *testing.T, b *fakebackend.Backend) (*Login, *httptest.Server) {
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return &Login{HTTP: server.Client(), AuthURL: server.URL, UserAgent: "test", Originator: "test", HostID: host, Now: time.Now}, server
}

// browse allows the sign-in at address, changes where the browser is sent back to, and returns the page that it ends on.
func browse(t *testing.T, address string, change func(url.Values)) string {
	u, err := url.Parse(address)
	if err != nil {
		t.Error(err)
		return ""
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm("http://"+u.Host+"/decide", url.Values{"query": {u.RawQuery}, "path": {u.Path}, "answer": {"allow"}})
	if err != nil {
		t.Error(err)
		return ""
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Errorf("%d, %v", resp.StatusCode, err)
		return ""
	}
	q := back.Query()
	if change != nil {
		change(q)
	}
	back.RawQuery = q.Encode()
	if resp, err = client.Get(back.String()); err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	page, _ := io.ReadAll(resp.Body)
	return string(page)
}

// signIn runs a sign-in with a browser that stays in the foreground until the end.
func signIn(t *testing.T, l *Login, change func(url.Values)) (creds.Credentials, string, error) {
	pages, over := make(chan string, 1), make(chan struct{})
	left := make(chan struct{})
	l.Show = func(address string) {
		defer close(left)
		pages <- browse(t, address, change)
		<-over // an xdg-open that waits for the browser to end
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := l.ChatGPT(ctx)
	page := <-pages
	close(over)
	<-left
	return c, page, err
}

func TestTheBrowserIsToldOfSuccessOnlyAfterTheIDTokenIsVerified(t *testing.T) {
	b := fakebackend.New()
	l, _ := newLogin(t, b)
	l.Registrations = &Registrations{Path: filepath.Join(t.TempDir(), "registrations.json")}
	c, page, err := signIn(t, l, nil)
	if err != nil || !strings.Contains(page, "You are signed in") || c.Kind != creds.KindChatGPT || !strings.HasPrefix(c.ClientID, "oaiapp_") || c.IdentityOnly() {
		t.Fatalf("%v, %v, %s", err, c, page)
	}
	// The next sign-in is of the same registration: the stand-in refuses agent_name_hint and other client ids then.
	again, _, err := signIn(t, l, nil)
	if err != nil || again.ClientID != c.ClientID || len(l.Registrations.All()) != 1 || l.Registrations.All()[0].HostID != host {
		t.Errorf("%v, %s, %+v", err, again.ClientID, l.Registrations.All())
	}
}

func TestAnAnswerThatIsNotForUsIsRefusedAndTheBrowserSaysSo(t *testing.T) {
	spoil := func(part int, by func(string) string) func(string) string {
		return func(token string) string {
			parts := strings.Split(token, ".")
			parts[part] = by(parts[part])
			return strings.Join(parts, ".")
		}
	}
	for name, test := range map[string]struct {
		spoil  func(string) string
		change func(url.Values)
		known  bool // there is a registration
	}{
		"the signature":            {spoil: spoil(2, func(s string) string { return strings.Repeat("A", len(s)) })},
		"the claims":               {spoil: spoil(1, func(s string) string { return s[:len(s)-4] + "AAAA" })},
		"no id token":              {spoil: func(string) string { return "" }},
		"no algorithm":             {spoil: func(s string) string { return "eyJhbGciOiJub25lIn0." + strings.Split(s, ".")[1] + "." }},
		"no client id":             {change: func(q url.Values) { q.Del("client_id") }},
		"the client id of nobody":  {change: func(q url.Values) { q.Set("client_id", siwcNewApp) }},
		"the client id of another": {change: func(q url.Values) { q.Set("client_id", "oaiapp_other") }, known: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := fakebackend.New()
			l, _ := newLogin(t, b)
			l.Registrations = &Registrations{Path: filepath.Join(t.TempDir(), "registrations.json")}
			if test.known {
				if _, _, err := signIn(t, l, nil); err != nil {
					t.Fatal(err)
				}
			}
			before := len(l.Registrations.All())
			b.SpoilIDToken = test.spoil
			_, page, err := signIn(t, l, test.change)
			var refused *Error
			if !errors.As(err, &refused) || refused.Code != "refused" || !strings.Contains(page, "Not signed in") {
				t.Errorf("%v, %s", err, page)
			}
			if len(l.Registrations.All()) != before {
				t.Errorf("kept: %+v", l.Registrations.All())
			}
		})
	}
}

func TestWithoutLeaveToUseThePlanItIsIdentityOnly(t *testing.T) {
	b := fakebackend.New()
	b.Scope = "openid profile email offline_access"
	l, _ := newLogin(t, b)
	c, _, err := signIn(t, l, nil)
	if err != nil || !c.IdentityOnly() {
		t.Errorf("%v, %v", err, c.Scope)
	}
}

func TestACancelledSignInEndsAtOnce(t *testing.T) {
	l, _ := newLogin(t, fakebackend.New())
	block := make(chan struct{})
	defer close(block)
	ctx, cancel := context.WithCancel(t.Context())
	l.Show = func(string) { cancel(); <-block }
	done := make(chan error, 1)
	go func() { _, err := l.ChatGPT(ctx); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the sign-in hangs")
	}
}
