package cli

import "testing"

func TestTheNearestNameIsGuessed(t *testing.T) {
	names := []string{"login", "logout", "log", "status", "start", "stop", "connect"}
	for typed, want := range map[string]string{
		"lgoin": "login", "logn": "login", "Statsu": "status", "conect": "connect", "stat": "start", "xyzzy": "", "": "", "codex": "",
	} {
		if got := nearest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
