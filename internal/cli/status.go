package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/app"
)

// callPatience is how long the running program may take to answer a command.
const callPatience = 10 * time.Second

type statusCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (s *statusCommand) Run(c *console) error {
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	state := c.state(a)
	if s.JSON {
		enc := json.NewEncoder(c.process.Out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(state); err != nil {
			return err
		}
	} else {
		writeState(c.process.Out, state, time.Now())
		if _, unreadable := app.ReadSaved(); unreadable != nil {
			c.printf("\n⚠️ %v\n", unreadable)
		}
		c.writeWorkspaces(a, state)
		if _, mine := a.Mine(); !mine {
			if others := app.Programs(); len(others) > 0 {
				c.printf("\nWhat runs has another sign-in. %s\n", nameOne(others))
			}
		}
	}
	if !state.SignIn.Usable {
		return errSilent
	}
	return nil
}

// state is how the running program is, or else what this command can tell by itself.
func (c *console) state(a *app.App) app.State {
	p, runs := a.Mine()
	if runs {
		var s app.State
		err := p.Call(c.ctx, callPatience, "state", url.Values{}, &s)
		if err == nil {
			return s
		}
		c.warnf("⚠️ %v\n", err)
	}
	a.AskUsage(c.ctx)
	s := a.State()
	if runs {
		s.Proxy.Silent, s.Proxy.PID = true, p.PID
	}
	return s
}

// writeWorkspaces says which others there are, when there is a choice.
func (c *console) writeWorkspaces(a *app.App, s app.State) {
	if !s.SignIn.Usable || s.SignIn.Kind != creds.KindCodex || c.settings.CredsStore == "env" {
		return
	}
	list, err := a.Workspaces(c.ctx)
	if err != nil || len(list) < 2 {
		return
	}
	c.printf("\nThis sign-in has %d workspaces; `codex-proxy workspace ID` chooses another:\n", len(list))
	c.listWorkspaces(list, s.SignIn.AccountID)
}

// writeState prints a state for people.
func writeState(w io.Writer, s app.State, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	switch {
	case s.Proxy.Running:
		line("Proxy", "running at %s", s.Proxy.URL)
	case s.Proxy.Silent:
		line("Proxy", "does not answer (process %d)", s.Proxy.PID)
	case s.Proxy.Ending:
		line("Proxy", "ending")
	case s.Proxy.Problem != "":
		line("Proxy", "not running: %s", s.Proxy.Problem)
	case !s.Proxy.PausedUntil.IsZero():
		line("Proxy", "paused until %s; `codex-proxy start` goes on now", s.Proxy.PausedUntil.Local().Format("15:04"))
	case s.Proxy.Stopped:
		line("Proxy", "stopped; `codex-proxy start` starts it")
	default:
		line("Proxy", "not running")
	}
	in := s.SignIn
	if in.Status == creds.StatusNone {
		line("Sign-in", "none")
	} else {
		line("Sign-in", "%s, %s", app.Name(in.Email, in.Plan), in.How())
		if in.AccountID != "" {
			line("Account", "%s", in.AccountID)
		}
		line("Token", "%s", in.Life(now))
		line("Stored in", "%s", in.Store)
		if in.ImportedFrom != "" && in.Ownership == creds.Shared {
			line("Belongs to", "the Codex CLI (%s)", in.ImportedFrom)
		}
	}
	for i, window := range s.Usage.Windows {
		name := "Limits"
		if i > 0 {
			name = ""
		}
		line(name, "%s", app.DescribeWindow(window, now))
	}
	if s.Menu != "" {
		line("Menu", "%s", s.Menu)
	}
	if in.Problem != "" {
		line("Problem", "%s", in.Sentence())
	}
	t.Flush() //nolint:errcheck // the terminal has gone
}
