package update

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aead.dev/minisign"
)

// page is a release page that is signed by a key of its own.
type page struct {
	*httptest.Server
	key    minisign.PrivateKey
	public string
	file   []byte
	signed []byte // what the signature is of; the file when nil
	// signature is one that was made elsewhere; nil for one by key.
	signature []byte
	redirect  string
	agents    []string
}

func newPage(t *testing.T, file string) *page {
	t.Helper()
	public, private, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &page{key: private, public: public.String(), file: []byte(file)}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.agents = append(p.agents, r.UserAgent())
		switch {
		case p.redirect != "":
			http.Redirect(w, r, p.redirect, http.StatusFound)
		case strings.HasSuffix(r.URL.Path, ".minisig"):
			of := p.file
			if p.signed != nil {
				of = p.signed
			}
			signature := p.signature
			if signature == nil {
				signature = minisign.Sign(p.key, of)
			}
			w.Write(signature) //nolint:errcheck // gone
		default:
			w.Write(p.file) //nolint:errcheck // gone
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func notice(version, date string) string {
	return `{"version":"` + version + `","date":"` + date + `","line":"More.","page":"https://example.com/r"}`
}

var today = time.Now().UTC().Format(time.DateOnly)

// looked is what one look at p tells.
func looked(t *testing.T, p *page, version string) (found []Release, warnings []string, w *watcher) {
	t.Helper()
	w = &watcher{warned: map[string]bool{}, Config: Config{
		Address: p.URL + "/latest.json", Key: p.public, Version: version, File: filepath.Join(t.TempDir(), "update.json"), Client: p.Client(),
		Found: func(r Release) { found = append(found, r) }, Warn: func(err error) { warnings = append(warnings, err.Error()) },
	}}
	w.look(t.Context())
	w.look(t.Context())
	return found, warnings, w
}

func TestANewerVersionIsToldOnce(t *testing.T) {
	p := newPage(t, notice("1.3.0", today))
	found, warnings, _ := looked(t, p, "v1.2.0")
	if len(found) != 1 || found[0].Version != "1.3.0" || found[0].Page != "https://example.com/r" || warnings != nil {
		t.Errorf("%+v %v", found, warnings)
	}
	if p.agents[0] != "codex-proxy/1.2.0" {
		t.Errorf("it says more of itself than its version: %q", p.agents[0])
	}
}

// TestANoticeSignedAsAReleaseIsBelieved signs as the release does, with minisign itself.
func TestANoticeSignedAsAReleaseIsBelieved(t *testing.T) {
	if _, err := exec.LookPath("minisign"); err != nil {
		t.Skip("minisign is not installed")
	}
	folder := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", name, err, out)
		}
	}
	file, key, public := filepath.Join(folder, "latest.json"), filepath.Join(folder, "key"), filepath.Join(folder, "key.pub")
	run("minisign", "-G", "-W", "-s", key, "-p", public)
	if err := os.WriteFile(file, []byte(notice("1.1.0", today)), 0o600); err != nil {
		t.Fatal(err)
	}
	run("../../packaging/sign", key, "1.1.0", file)
	p := newPage(t, notice("1.1.0", today))
	lines, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	p.public = strings.Split(string(lines), "\n")[1] // what the maintainer puts into MINISIGN_PUBLIC_KEY
	if p.signature, err = os.ReadFile(file + ".minisig"); err != nil {
		t.Fatal(err)
	}
	if found, warnings, _ := looked(t, p, "1.0.0"); len(found) != 1 || len(warnings) != 0 {
		t.Errorf("found %v, warned %q", found, warnings)
	}
	p.file = []byte(notice("1.2.0", today))
	if found, warnings, _ := looked(t, p, "1.0.0"); len(found) != 0 || len(warnings) != 1 {
		t.Errorf("another file by the same signature: found %v, warned %q", found, warnings)
	}
}

func TestWhatIsNotNewerIsNotTold(t *testing.T) {
	for _, version := range []string{"1.3.0", "1.4.0", "dev", "4da08a3"} {
		if found, warnings, _ := looked(t, newPage(t, notice("1.3.0", today)), version); found != nil || warnings != nil {
			t.Errorf("%s: %+v %v", version, found, warnings)
		}
	}
}

func TestWhatCantBeTrustedIsIgnoredAndSaidOnce(t *testing.T) {
	good := notice("1.3.0", today)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(good)) })) //nolint:errcheck // gone
	t.Cleanup(plain.Close)
	for name, test := range map[string]struct {
		file string
		set  func(*page)
		want string
	}{
		"another file is signed":    {good, func(p *page) { p.signed = []byte(notice("1.3.1", today)) }, "not signed"},
		"another key signed it":     {good, func(p *page) { _, p.key, _ = minisign.GenerateKey(rand.Reader) }, "not signed"},
		"it has expired":            {notice("1.3.0", "2019-01-01"), nil, "expired"},
		"it is too large":           {good + strings.Repeat(" ", maxSize), nil, "larger"},
		"it is no JSON":             {"<html>", nil, "can't be read"},
		"its page is plain http":    {strings.Replace(good, "https:", "http:", 1), nil, "https"},
		"its page is a script":      {strings.Replace(good, "https://example.com/r", "javascript:alert(1)", 1), nil, "https"},
		"it has no version":         {notice("", today), nil, "no version"},
		"it leads to plain http":    {good, func(p *page) { p.redirect = plain.URL }, "plain http"},
		"it leads round in circles": {good, func(p *page) { p.redirect = "/again" }, "on and on"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPage(t, test.file)
			if test.set != nil {
				test.set(p)
			}
			found, warnings, _ := looked(t, p, "1.2.0")
			if found != nil || len(warnings) != 1 || !strings.Contains(warnings[0], test.want) {
				t.Errorf("%+v %v", found, warnings)
			}
		})
	}
}

func TestAnOlderNoticeDoesNotTakeTheNewerOnesPlace(t *testing.T) {
	p := newPage(t, notice("1.4.0", today))
	_, _, w := looked(t, p, "1.2.0")
	p.file = []byte(notice("1.3.0", today))
	w.look(t.Context())
	if w.memory.Latest.Version != "1.4.0" {
		t.Errorf("%+v", w.memory.Latest)
	}
}

// transport answers without a network, and counts.
type transport struct {
	p     *page
	calls []time.Time
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.calls = append(t.calls, time.Now())
	rec := httptest.NewRecorder()
	t.p.Config.Handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func TestItLooksOnceADayAlsoOverRestarts(t *testing.T) {
	p := newPage(t, "")
	file := filepath.Join(t.TempDir(), "update.json")
	synctest.Test(t, func(t *testing.T) {
		p.file = []byte(notice("1.3.0", time.Now().UTC().Format(time.DateOnly)))
		network := &transport{p: p}
		var found []string
		c := Config{
			Address: "https://example.com/latest.json", Key: p.public, Version: "1.2.0", File: file, Client: &http.Client{Transport: network},
			Getenv: func(string) string { return "" }, Found: func(r Release) { found = append(found, r.Version) }, Warn: func(err error) { t.Error(err) },
		}
		for range 3 { // starts, of 20 hours each
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Hour)
			Watch(ctx, c)
			cancel()
		}
		if len(network.calls) != 6 { // two files a look; three looks in 60 hours
			t.Errorf("%d files were asked for: %v", len(network.calls), network.calls)
		}
		if len(found) != 3 {
			t.Errorf("each start should know: %v", found)
		}
	})
	raw, err := os.ReadFile(file)
	var m memory
	if err != nil || json.Unmarshal(raw, &m) != nil || m.Latest == nil {
		t.Errorf("%s %v", raw, err)
	}
}

func TestItNeverLooksWhenItMayNot(t *testing.T) {
	for name, test := range map[string]struct{ address, key, track string }{
		"a build that is no release": {"", "", ""},
		"no key":                     {"https://example.com", "", ""},
		"DO_NOT_TRACK":               {"https://example.com", "RW", "1"},
	} {
		c := Config{Address: test.address, Key: test.key, Getenv: func(string) string { return test.track }}
		if c.Allowed() {
			t.Error(name)
		}
		Watch(t.Context(), c) // returns at once
	}
}
