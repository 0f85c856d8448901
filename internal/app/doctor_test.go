package app

import (
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
