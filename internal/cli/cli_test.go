package cli

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// said is what a command line that can't be understood is told.
func said(t *testing.T, args ...string) string {
	t.Helper()
	_, errs := ran(t, 2, args...)
	return errs
}

func TestACommandIsDescribedWithoutTheOthers(t *testing.T) {
	all := commands()
	for _, c := range all {
		knows := len(needed([]string{c.name, "--port", "1"}, all))
		if more := c.name == "help" || c.name == "man"; more && knows != len(all) || !more && knows != 1 {
			t.Errorf("%s is described with %d commands", c.name, knows)
		}
		if c.name == "man" { // hidden
			continue
		}
		help, alone := typed(t, "help", c.name), typed(t, c.name, "--help")
		if !strings.HasPrefix(help, "Usage: codex-proxy "+c.name+" ") || c.name != "run" && alone != help { // run has words of its own
			t.Errorf("help %s:\n%s\n%s --help:\n%s", c.name, help, c.name, alone)
		}
	}
	if got := needed(nil, all); len(got) != 1 || got[0].name != "menu" {
		t.Errorf("without arguments: %v", got)
	}
	if got := needed([]string{"--port", "1", "serve"}, all); len(got) != len(all) {
		t.Errorf("a flag before the command leaves %v", got)
	}
}

func TestAWrongWordIsComparedWithEveryCommand(t *testing.T) {
	for _, args := range [][]string{{"lgin"}, {"--port", "1", "lgin"}, {"serve", "lgin"}} {
		if got := said(t, args...); !strings.Contains(got, `there is no command "lgin"; did you mean "login"?`) {
			t.Errorf("%q: %s", args, got)
		}
	}
	if got := said(t, "serve", "login"); !strings.Contains(got, `"login" is a command, and can't stand behind another`) {
		t.Error(got)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"worker", "push"}, "<url> is missing: the Worker's address, such as https://codex-proxy.example.workers.dev.\n"},
		{[]string{"keys", "revoke"}, "<name> is missing"},
		{[]string{"autostart"}, "<what> is missing: on, with the flags that you give beside it, or off.\n"},
	} {
		if got := said(t, test.args...); !strings.Contains(got, test.want) || strings.Contains(got, "expected") {
			t.Errorf("%v: %s", test.args, got)
		}
	}
	if got := said(t, "worker", "psh"); !strings.Contains(got, `there is no command "psh"; did you mean "push"?`+"\n") {
		t.Error(got)
	}
}

// TestNoCommandHasAFlagOfAll: kong looks for that within one of the commands only.
func TestNoCommandHasAFlagOfAll(t *testing.T) {
	var options []kong.Option
	for _, c := range commands() {
		options = append(options, kong.DynamicCommand(c.name, c.help, "", c.does, c.tags))
	}
	parser, err := kong.New(&commandLine{}, options...)
	if err != nil {
		t.Fatal(err)
	}
	namesOf := func(f *kong.Flag) []string {
		names := append([]string{"--" + f.Name}, f.Aliases...)
		if f.Short != 0 {
			names = append(names, "-"+string(f.Short))
		}
		if f.Tag.Negatable != "" {
			names = append(names, "--no-"+f.Name)
		}
		return names
	}
	taken := map[string]bool{}
	for _, flag := range parser.Model.Flags {
		for _, name := range namesOf(flag) {
			taken[name] = true
		}
	}
	if !taken["--port"] || !taken["-v"] || !taken["--no-same-user"] {
		t.Errorf("flags of all commands are missing: %v", taken)
	}
	var look func(node *kong.Node)
	look = func(node *kong.Node) {
		for _, flag := range node.Flags {
			for _, name := range namesOf(flag) {
				if taken[name] {
					t.Errorf("%s has a flag %s, which is one of all commands", node.Path(), name)
				}
			}
		}
		for _, child := range node.Children {
			look(child)
		}
	}
	for _, child := range parser.Model.Children {
		look(child)
	}
}
