package app

import "testing"

func TestALetterIsWholeInEveryScript(t *testing.T) {
	for text, want := range map[string]string{"éa.json can't be read": "Éa.json can't be read", "nobody": "Nobody", "\"x\"": "\"x\"", "": ""} {
		if got := capital(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	for text, want := range map[string]string{"érika@example.com": "é…@example.com", "demo@example.com": "d…@example.com", "acct-éé12": "acct-é…", "short": "short"} {
		if got := redact(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
