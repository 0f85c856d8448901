package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codex-proxy/creds"
)

func TestTheDoctorNamesASignInThatTellsLittle(t *testing.T) {
	p := openIn(t, ownHome(t))
	defer p.Close()
	for want, s := range map[string]SignInState{
		"an account without an address, account acct, by a Codex sign-in": {Status: creds.StatusSignedIn, AccountID: "acct"},
		"d…@example.com (plus), account acct, by a Codex sign-in":         {Status: creds.StatusSignedIn, AccountID: "acct", Email: "demo@example.com", Plan: "plus"},
		"an account without an address: it has ended":                     {Status: creds.StatusSignInAgain, Problem: "it has ended"},
	} {
		var found []string
		(&examination{p.App, t.Context(), func(f Finding) { found = append(found, f.Text) }}).signIn(s)
		if !strings.Contains(strings.Join(found, "\n")+"\n", want+"\n") {
			t.Errorf("no %q in %q", want, found)
		}
	}
}

// TestTheDoctorsAdvicePointsNowhereByPlace: it stands beside its line on the page, and after all lines in a terminal.
func TestTheDoctorsAdvicePointsNowhereByPlace(t *testing.T) {
	p := openIn(t, ownHome(t))
	defer p.Close()
	for _, status := range []creds.Status{creds.StatusNone, creds.StatusSignInAgain, creds.StatusRefreshFailing} {
		(&examination{p.App, t.Context(), func(f Finding) {
			if strings.Contains(f.Advice, "below") || strings.Contains(f.Advice, "above") {
				t.Errorf("%s: %s", status, f.Advice)
			}
		}}).signIn(SignInState{Status: status})
	}
}

// TestTheDoctorNamesAFolderThatCantBeWritten: a sign-in would have nowhere to be kept.
func TestTheDoctorNamesAFolderThatCantBeWritten(t *testing.T) {
	p := openIn(t, ownHome(t))
	defer p.Close()
	about := func() (text string) {
		(&examination{p.App, t.Context(), func(f Finding) { text += f.Subject + ": " + f.Text + ". " + f.Advice + "\n" }}).files()
		return text
	}
	if text := about(); strings.Contains(text, "can't be written") {
		t.Error(text)
	}
	home := filepath.Dir(ConfigFolder())
	if err := os.RemoveAll(home); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := about(); !strings.Contains(text, "Folder: "+ConfigFolder()+" can't be written (not a directory). Make ") {
		t.Error(text)
	}
}

// TestTheDoctorNamesADetour: tools that start with these variables may not reach the proxy.
func TestTheDoctorNamesADetour(t *testing.T) {
	p := openIn(t, ownHome(t))
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"} {
		t.Setenv(name, "")
	}
	for _, x := range []struct {
		variables []string // name, value
		told      bool
	}{
		{nil, false},
		{[]string{"HTTP_PROXY", "http://proxy.example.com:3128"}, true},
		{[]string{"all_proxy", "socks5://127.0.0.1:1080", "NO_PROXY", "localhost.example.com, .example.org"}, true},
		{[]string{"HTTP_PROXY", "http://proxy.example.com:3128", "no_proxy", "127.0.0.1, localhost"}, false},
		{[]string{"HTTP_PROXY", "http://proxy.example.com:3128", "NO_PROXY", "*"}, false},
		{[]string{"HTTPS_PROXY", "http://proxy.example.com:3128"}, false},
	} {
		t.Run(strings.Join(x.variables, " "), func(t *testing.T) {
			for i := 0; i+1 < len(x.variables); i += 2 {
				t.Setenv(x.variables[i], x.variables[i+1])
			}
			told := false
			(&examination{p.App, t.Context(), func(f Finding) { told = strings.Contains(f.Advice, "NO_PROXY") }}).detour()
			if told != x.told {
				t.Errorf("told: %v", told)
			}
		})
	}
}

// TestTheDoctorTellsAProgramThatEndsFromAStoppedOne: that one can't be started.
func TestTheDoctorTellsAProgramThatEndsFromAStoppedOne(t *testing.T) {
	p := openIn(t, ownHome(t))
	defer p.Close()
	for _, x := range []struct {
		proxy ProxyState
		want  string
	}{
		{ProxyState{Ending: true}, "the program is ending"},
		{ProxyState{Stopped: true}, "the proxy is stopped"},
	} {
		(&examination{p.App, t.Context(), func(f Finding) {
			if !strings.Contains(f.Text, x.want) || strings.Contains(f.Advice, "start") == x.proxy.Ending {
				t.Errorf("%+v: %+v", x.proxy, f)
			}
		}}).port(State{Proxy: x.proxy}, true)
	}
}
