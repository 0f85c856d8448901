package app

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"codex-proxy/internal/autostart"
	"codex-proxy/internal/page"
	"codex-proxy/tray"
)

// open returns a program as the page sees it, in a home of its own. Nothing runs.
func open(t *testing.T) *pageApp {
	t.Helper()
	return openIn(t, t.TempDir())
}

func openIn(t *testing.T, home string, set ...func(*Settings)) *pageApp {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	var cl struct {
		Settings Settings `embed:""`
	}
	parser, err := kong.New(&cl)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	cl.Settings.CredsPath = filepath.Join(home, "auth.json")
	for _, set := range set {
		set(&cl.Settings)
	}
	if err := cl.Settings.Check(); err != nil {
		t.Fatal(err)
	}
	a, err := New(cl.Settings, Program{Version: "test", Log: NewLogger(io.Discard, "development", "error", true)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return &pageApp{App: a, active: map[uint64]page.Request{}}
}

// TestTheNamesOfSettingsAreThoseOfTheFlags: the page's list is read off the same tags as the command line.
func TestTheNamesOfSettingsAreThoseOfTheFlags(t *testing.T) {
	var cl struct {
		Settings Settings `embed:""`
	}
	parser, err := kong.New(&cl)
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]*kong.Flag{}
	for _, f := range parser.Model.Flags {
		flags[f.Name] = f
	}
	listed := fields()
	if len(listed) < 20 {
		t.Errorf("only %d settings", len(listed))
	}
	for _, f := range listed {
		flag := flags[f.name]
		if flag == nil || len(flag.Envs) != 1 || flag.Envs[0] != f.tag.Get("env") {
			t.Errorf("%s is no flag", f.name)
		}
	}
}

func TestASettingIsCheckedKeptAndBroughtBack(t *testing.T) {
	p := open(t)
	for _, test := range []struct {
		name, value string
		ok          bool
	}{
		{"model", `"gpt-5.5"`, true}, {"strict", `true`, true}, {"idle-timeout", `"90s"`, true}, {"idle-timeout", `"soon"`, false}, {"keep-alive", `"-1s"`, false},
		{"allow-origin", `["http://localhost:3000"]`, true}, {"allow-origin", `["https://evil.example"]`, false}, {"allow-origin", `["http://localhost:3000/"]`, false},
		{"allow-origin", `["http://localhost:3000?a"]`, false}, {"allow-origin", `["http://me@localhost:3000"]`, false}, {"allow-origin", `["http://localhost:3000#a"]`, false}, {"allow-origin", `["chrome-extension://abc"]`, true}, {"model-alias", `["fast=gpt-5.5"]`, true},
		{"model-alias", `["nonsense"]`, false}, {"mute", `["limits"]`, true}, {"mute", `["everything"]`, false}, {"listen", `"0.0.0.0"`, false},
		{"history", `30`, true}, {"history", `-1`, false}, {"log-level", `"debug"`, true}, {"api-key", `["k"]`, true}, {"api-key", `[" "]`, false}, {"api-key", `[]`, false}, {"no-such", `1`, false},
		{"default-effort", `"high"`, true}, {"default-effort", `"huge"`, false}, {"default-effort", `""`, true}, {"log-level", `"loud"`, false}, {"creds-store", `"cloud"`, false},
		{"allow-host", `["host.docker.internal:9974"]`, false}, {"allow-host", `["http://host.docker.internal"]`, false}, {"allow-host", `["host.docker.internal/"]`, false}, {"allow-host", `["a b"]`, false},
		{"allow-host", `["[fd00::1]"]`, false}, {"allow-host", `["fd00::1", "192.168.1.2", "host.docker.internal"]`, true},
		{"model-alias", `["=gpt-5.5"]`, false}, {"model-alias", `["fast="]`, true}, // the default model
	} {
		before, _ := ReadSaved()
		_, err := p.set(test.name, json.RawMessage(test.value), false)
		after, _ := ReadSaved()
		if (err == nil) != test.ok {
			t.Errorf("%s = %s: %v", test.name, test.value, err)
		}
		if !test.ok && len(after) != len(before) {
			t.Errorf("%s = %s was kept", test.name, test.value)
		}
	}
	saved, _ := ReadSaved()
	for _, s := range p.settingsList(saved) {
		switch s.Name {
		case "model":
			if s.Value != "gpt-5.5" || !s.Waiting || s.Source != page.FromFile {
				t.Errorf("model: %+v", s)
			}
		case "api-key":
			if !s.Secret || s.Value != false || !s.Waiting || s.Source != page.FromFile {
				t.Errorf("a key is shown, or does not wait for a restart: %+v", s)
			}
		case "allow-origin":
			if list := s.Value.([]string); len(list) != 1 || s.Restart {
				t.Errorf("allow-origin: %+v", s)
			}
		}
	}
	if _, err := p.set("model", nil, true); err != nil {
		t.Error(err)
	}
	if saved, _ := ReadSaved(); saved["model"] != nil {
		t.Errorf("after the reset: %v", saved)
	}
	p.Settings.From = map[string]Source{"strict": FromFlag}
	if _, err := p.set("strict", json.RawMessage("false"), false); err == nil {
		t.Error("a setting of a flag was changed")
	}
}

// What is spelled in another way than the program has it does not wait for a restart that changes nothing.
func TestNothingWaitsAfterARestart(t *testing.T) {
	p := open(t)
	for name, value := range map[string]string{"codex-home": `"~/other"`, "creds-path": `"~/auth.json"`, "listen": `"[::1]"`, "auth-url": `"https://auth.example.com/"`, "idle-timeout": `"90m"`} {
		if _, err := p.set(name, json.RawMessage(value), false); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func() (out []string) {
		saved, _ := ReadSaved()
		for _, s := range p.settingsList(saved) {
			if s.Waiting {
				out = append(out, s.Name)
			}
		}
		return out
	}
	if got := waiting(); len(got) != 5 {
		t.Errorf("%v wait", got)
	}
	saved, _ := ReadSaved()
	p.Settings = p.next(saved)
	if err := p.Settings.Check(); err != nil {
		t.Fatal(err)
	}
	if got := waiting(); len(got) > 0 {
		t.Errorf("after a restart %v wait", got)
	}
}

// What waits for a restart is checked together: the program must start with it.
func TestChangesThatWaitAreCheckedTogether(t *testing.T) {
	p := open(t)
	p.Settings.APIKey, p.Settings.From = []string{"k"}, map[string]Source{"api-key": FromFile} // it runs with a key of the file
	if err := p.change(func(s Saved) { s["api-key"] = []string{"k"} }); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, value string
		reset, ok   bool
	}{
		{"listen", `"0.0.0.0"`, false, true},
		{"api-key", "", true, false},
		{"listen", "", true, true},
		{"api-key", "", true, true},
		{"listen", `"0.0.0.0"`, false, false},
		{"api-key", `["another"]`, false, true},
		{"listen", `"0.0.0.0"`, false, true},
	} {
		_, err := p.set(test.name, json.RawMessage(test.value), test.reset)
		if (err == nil) != test.ok {
			saved, _ := ReadSaved()
			t.Errorf("%+v: %v, kept is %v", test, err, saved)
		}
	}
	// A file that is wrong already is mended one setting after the other.
	if err := p.change(func(s Saved) { s["idle-timeout"], s["api-key"] = "-1s", []string{" "} }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"idle-timeout", "listen", "api-key"} {
		if _, err := p.set(name, nil, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStartAtLoginIsASettingWhereTheProgramHasAnIcon(t *testing.T) {
	p := open(t)
	value := func() any {
		saved, _ := ReadSaved()
		for _, s := range p.settingsList(saved) {
			if s.Name == startAtLogin {
				return s.Value
			}
		}
		return nil
	}
	if _, err := p.set(startAtLogin, json.RawMessage("true"), false); err == nil || value() != nil {
		t.Errorf("%v %v without an entry", value(), err)
	}
	entry := autostart.Entry{Program: "/opt/codex-proxy", System: "linux", Home: t.TempDir(), Config: t.TempDir()}
	p.life.Login = &entry
	for _, test := range []struct {
		value string
		reset bool
		want  bool
	}{{"true", false, true}, {"false", false, false}, {"true", false, true}, {"", true, false}} {
		if _, err := p.set(startAtLogin, json.RawMessage(test.value), test.reset); err != nil || value() != test.want || entry.Enabled() != test.want {
			t.Errorf("%+v: %v, the desktop has %v (%v)", test, value(), entry.Enabled(), err)
		}
	}
	if _, err := p.set(startAtLogin, json.RawMessage(`"maybe"`), false); err == nil {
		t.Error("maybe is taken")
	}
	if saved, _ := ReadSaved(); len(saved) > 0 {
		t.Errorf("it is in the settings file, too: %v", saved)
	}
}

func TestAPageIsAskedAboutOnceAndTheAnswerIsKept(t *testing.T) {
	p := open(t)
	changes, cancel := p.Watch()
	defer cancel()
	for range 5 {
		p.pageAsked("http://localhost:3000")
	}
	<-changes
	select {
	case <-changes:
		t.Error("it was told again")
	default:
	}
	if s := p.App.State(); s.Asked != "http://localhost:3000" {
		t.Errorf("asked about %q", s.Asked)
	}
	if err := p.AllowOrigin("http://localhost:3000", true); err != nil || p.App.State().Asked != "" || len(p.origins.allowed()) != 1 {
		t.Errorf("%v %v", err, p.origins.allowed())
	}
	if err := p.AllowOrigin("http://localhost:4000", false); err != nil {
		t.Error(err)
	}
	p.pageAsked("http://localhost:4000")
	saved, err := ReadSaved()
	if p.App.State().Asked != "" || err != nil || len(saved.DeniedOrigins()) != 1 || len(saved["allow-origin"].([]any)) != 1 {
		t.Errorf("%v %v", saved, err)
	}
	p.pageAsked("http://localhost:5000")
	if _, err := p.set("allow-origin", json.RawMessage(`["http://localhost:4000", "http://localhost:5000"]`), false); err != nil || p.App.State().Asked != "" {
		t.Errorf("%v, still asked about %q, which Settings allow", err, p.App.State().Asked)
	}
	if list := p.originsList(); len(list) != 2 || list[0].State != "allowed" || list[1].State != "allowed" {
		t.Errorf("what is allowed in the settings is %+v", list)
	}
	if saved, _ := ReadSaved(); len(saved.DeniedOrigins()) != 0 || len(saved["allow-origin"].([]any)) != 2 {
		t.Errorf("kept is %v", saved)
	}
	for i := range 100 { // pages that make up ports don't fill the memory
		p.pageAsked("http://localhost:" + strconv.Itoa(10000+i))
	}
	if n := len(p.origins.waiting); n > waitingMost {
		t.Errorf("%d wait", n)
	}
}

// TestAnAnswerIsForThePageThatWasShown: the next one may be asked about meanwhile.
func TestAnAnswerIsForThePageThatWasShown(t *testing.T) {
	p := open(t)
	for _, port := range []string{"3000", "4000", "5000"} {
		p.pageAsked("http://localhost:" + port)
	}
	shown := func(id string) tray.Action {
		for _, it := range tray.Menu(p.App.State().tray(time.Now()), time.Now()) {
			if it.ID == id {
				return it.Action
			}
		}
		return ""
	}
	m := &Menu{app: p.App}
	allow, deny := shown("allow"), shown("deny")
	if err := p.AllowOrigin("http://localhost:3000", false); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Do(t.Context(), deny); err != nil || p.App.State().Asked != "http://localhost:4000" {
		t.Errorf("%v, asked about %q", err, p.App.State().Asked)
	}
	if _, err := m.Do(t.Context(), allow); err != nil || !slices.Equal(p.origins.allowed(), []string{"http://localhost:3000"}) {
		t.Errorf("%v, allowed: %v", err, p.origins.allowed())
	}
}

// TestAKeyOfThePageOpensTheProxyUntilItIsTakenAway: made, listed, good for callers, and revoked.
func TestAKeyOfThePageOpensTheProxyUntilItIsTakenAway(t *testing.T) {
	p := open(t)
	made, err := p.Do(t.Context(), page.ActionKeyCreate, json.RawMessage(`{"name":" laptop "}`))
	if err != nil {
		t.Fatal(err)
	}
	key := made.(page.NewKey).Key
	if name, ok := p.keys.Lookup(key); !ok || name != "laptop" {
		t.Errorf("the key opens nothing: %q, %v", name, ok)
	}
	listed := p.Snapshot().Keys
	if len(listed) != 1 || listed[0].Name != "laptop" || listed[0].Created.IsZero() {
		t.Errorf("listed: %+v", listed)
	}
	for _, name := range []string{"laptop", "", "a\nb"} {
		args, _ := json.Marshal(page.KeyArgs{Name: name})
		if _, err := p.Do(t.Context(), page.ActionKeyCreate, args); err == nil {
			t.Errorf("a key is made under the name %q", name)
		}
	}
	if _, err := p.Do(t.Context(), page.ActionKeyRevoke, json.RawMessage(`{"id":"laptop"}`)); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.keys.Lookup(key); ok || len(p.Snapshot().Keys) != 0 {
		t.Error("a key that was revoked opens the proxy")
	}
}

// TestTheNetworksPasswordIsNotShown: and what is shown in its place is not taken for it.
func TestTheNetworksPasswordIsNotShown(t *testing.T) {
	for _, f := range fields() {
		if f.name != "https-proxy" {
			continue
		}
		var s Settings
		var shown any
		for _, x := range [][2]string{
			{"me:word@proxy.example.com:3128", "me:" + hidden + "@proxy.example.com:3128"}, // as a variable may say it
			{"http://me:50%word@proxy.example.com", "http://me:" + hidden + "@proxy.example.com"},
			{"http://me@proxy.example.com", "http://me@proxy.example.com"},
			{"socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"},
			{"direct", "direct"},
			{"", ""},
			{"http://me:word@proxy.example.com:3128", "http://me:" + hidden + "@proxy.example.com:3128"},
		} {
			s.HTTPSProxy = x[0]
			if shown = f.show(reflect.ValueOf(s).Field(f.index)); shown != x[1] {
				t.Errorf("%s shows %v", x[0], shown)
			}
		}
		for _, inEnv := range []string{"me:word@proxy.example.com:3128", "1:word@proxy.example.com:3128", "http://me:wo%rd@proxy.example.com:3128"} { // net/http takes the first two
			of := Settings{HTTPSProxy: inEnv}
			if text := fmt.Sprint(f.show(reflect.ValueOf(of).Field(f.index))); strings.Contains(text, "word") || strings.Contains(text, "wo%rd") {
				t.Errorf("of %s it shows %s", inEnv, text)
			}
		}
		s.HTTPSProxy = shown.(string)
		if err := s.checkNetworkProxy(); err == nil || !strings.Contains(err.Error(), "type the password") {
			t.Error(err)
		}
		return
	}
	t.Error("there is no such setting")
}

// TestWhatIsWrongIsSaidInThePagesWords: its user never sees a flag.
func TestWhatIsWrongIsSaidInThePagesWords(t *testing.T) {
	p := open(t)
	for _, x := range []struct{ name, value, want string }{
		{"keep-alive", `"1ns"`, "Keep alive: must be longer than that, such as 30s"},
		{"listen", `"0.0.0.0"`, "Address to listen on: 0.0.0.0 lets other machines spend your plan"},
		{"https-proxy", `"http://a:xxxxx@b"`, "Proxy of your network: type the password, too"},
		{"allow-origin", `["nowhere"]`, "Web pages that may use the plan: nowhere is not an origin"},
	} {
		if _, err := p.set(x.name, json.RawMessage(x.value), false); err == nil || !strings.HasPrefix(err.Error(), x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if _, err := p.set("listen", json.RawMessage(`""`), false); err != nil {
		t.Errorf("an address that is emptied: %v", err)
	}
}

// TestANewPasswordOfTheNetworksProxyWaitsForARestart, though it is not shown.
func TestANewPasswordOfTheNetworksProxyWaitsForARestart(t *testing.T) {
	p := open(t)
	waits := func(password string) bool {
		t.Helper()
		if _, err := p.set("https-proxy", json.RawMessage(`"http://me:`+password+`@proxy.example.com:3128"`), false); err != nil {
			t.Fatal(err)
		}
		saved, _ := ReadSaved()
		for _, s := range p.settingsList(saved) {
			if s.Name == "https-proxy" {
				return s.Waiting
			}
		}
		return false
	}
	if !waits("old") {
		t.Error("a proxy does not wait")
	}
	saved, _ := ReadSaved()
	p.Settings = p.next(saved)
	if waits("old") || !waits("new") {
		t.Error("the old password waits, or the new one does not")
	}
}
