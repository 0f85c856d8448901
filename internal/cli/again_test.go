package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestAnyStartCanBeRepeated: what a restart from the page runs is understood, and tells what was typed.
func TestAnyStartCanBeRepeated(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, typed := range []string{"", "--demo", "serve", "--demo serve", "--listen 127.0.0.1 serve --port 0", "menu --demo", "--creds-store xdg menu"} {
		args := strings.Fields(typed)
		once := again(args)
		if twice := again(once); !slices.Equal(once, twice) {
			t.Errorf("%q grows: %v, then %v", typed, once, twice)
		}
		if got := withoutOpenPage(once); !slices.Equal(got, args) {
			t.Errorf("%q became %v", typed, got)
		}
		var errs bytes.Buffer
		// A flag that does not exist ends the parsing, after everything before it was understood.
		Run(t.Context(), Process{Args: append(once, "--nonsense"), Out: &errs, Err: &errs})
		if !strings.Contains(errs.String(), "unknown flag --nonsense") {
			t.Errorf("%q is started again as %v: %s", typed, once, errs.String())
		}
	}
}
