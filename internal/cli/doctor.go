package cli

import (
	"net/url"
	"runtime"
	"slices"

	"codex-proxy/internal/app"
)

type doctorCommand struct {
	Probe bool `help:"Also send one tiny request to a model, which uses a little of your plan."`
}

// Run prints a report without secrets, and ends in what to do.
func (d *doctorCommand) Run(c *console) error {
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	c.printf("Codex Proxy %s, %s, %s/%s\n", c.process.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	var running *app.State
	if p, ok := a.Mine(); ok {
		var s app.State
		if err := p.Call(c.ctx, callPatience, "state", url.Values{}, &s); err == nil {
			running = &s
		} else {
			c.printf("❌ %-12s %v\n", "Program", err)
		}
	}
	var advice []string
	a.Examine(c.ctx, running, d.Probe, func(f app.Finding) {
		icon := map[app.Verdict]string{app.Good: "✅", app.Note: "⚠️", app.Bad: "❌", app.More: "  "}[f.Verdict]
		c.printf("%s %-12s %s\n", icon, f.Subject, f.Text)
		if f.Advice != "" && !slices.Contains(advice, f.Advice) {
			advice = append(advice, f.Advice)
		}
	})
	c.printf("\n")
	if len(advice) == 0 {
		c.printf("Nothing to do: all is well.\n")
		return nil
	}
	c.printf("What to do:\n")
	for i, text := range advice {
		c.printf("%d. %s.\n", i+1, text)
	}
	return errSilent
}
