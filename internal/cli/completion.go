package cli

import (
	"os"
	"slices"
	"time"

	"github.com/alecthomas/kong"
	mangokong "github.com/alecthomas/mango-kong"
	"github.com/muesli/roff"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"

	"codex-proxy/internal/connect"
)

// completionScripts have a shell ask the program itself, by COMP_LINE and COMP_POINT, what can come next: so they never
// fall behind the program. Source: bash(1), "Programmable Completion"; zshcompsys(1); fish's complete(1).
var completionScripts = map[string]string{
	"bash": `complete -o default -C codex-proxy codex-proxy
`,
	"zsh": `#compdef codex-proxy
_codex-proxy() {
  local line="${(j: :)words[1,CURRENT]}"
  local -a answers
  answers=("${(@f)$(COMP_LINE=$line COMP_POINT=${#line} codex-proxy)}")
  compadd -- "${answers[@]}"
}
if [ "$funcstack[1]" = "_codex-proxy" ]; then _codex-proxy "$@"; else compdef _codex-proxy codex-proxy; fi
`,
	"fish": `complete -c codex-proxy -f -a '(COMP_LINE=(commandline -cp) codex-proxy)'
`,
}

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints what the shell reads; packages bring it along.
func (s *completionCommand) Run(c *console) error {
	c.printf("%s", completionScripts[s.Shell])
	return nil
}

// answerShell answers a shell that asks what can come next, and then ends the parser.
func answerShell(parser *kong.Kong) {
	kongplete.Complete(parser, kongplete.WithPredictors(map[string]complete.Predictor{
		"tool":    complete.PredictFunc(func(complete.Args) []string { return toolIDs(func(connect.Tool) bool { return true }) }),
		"program": after("run", func() []string { return toolIDs(connect.Tool.CanRun) }),
		"command": after("help", func() (names []string) {
			for _, c := range commands() {
				names = append(names, c.name)
			}
			return names
		}),
	}))
}

// after has answers for the word behind a command, and none for those that follow.
func after(command string, answers func() []string) complete.Predictor {
	return complete.PredictFunc(func(a complete.Args) []string {
		if a.LastCompleted != command {
			return nil
		}
		return answers()
	})
}

// shellAsks reports whether one does. Source: github.com/posener/complete, which kongplete asks.
func shellAsks() bool { return os.Getenv("COMP_LINE") != "" }

type manCommand struct {
	Date time.Time `format:"2006-01-02" placeholder:"YYYY-MM-DD" help:"Date of the page; today without it."`
}

// Run prints the manual page, which packages install. Source: man(7).
func (m *manCommand) Run(c *console) error {
	if m.Date.IsZero() {
		m.Date = time.Now()
	}
	model := c.parser.Model
	model.Help = "answer the OpenAI API on this machine from a ChatGPT plan\n" + model.Help
	model.Flags = slices.DeleteFunc(model.Flags, func(f *kong.Flag) bool { return f.Hidden })
	c.printf("%s", mangokong.NewManPage(1, model).Build(dated{roff.NewDocument(), m.Date}))
	return nil
}

// dated is a page with a date of its own, so that the same sources make the same page on any day.
type dated struct {
	*roff.Document
	date time.Time
}

func (d dated) Heading(section uint, title, _ string, _ time.Time) {
	d.Document.Heading(section, title, "Codex Proxy", d.date)
}
