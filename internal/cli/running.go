package cli

import (
	"fmt"
	"strings"

	"codex-proxy/internal/app"
	"codex-proxy/tray"
)

type startCommand struct{}

func (startCommand) Run(c *console) error { return c.command("start", "✅ The proxy is running") }

type stopCommand struct{}

func (stopCommand) Run(c *console) error {
	return c.command("stop", "✅ The proxy is stopped; the program stays. `codex-proxy start` starts it")
}

type quitCommand struct{}

func (quitCommand) Run(c *console) error { return c.command("quit", "✅ Codex Proxy is stopping") }

// command has the running program do something.
func (c *console) command(verb, done string) error {
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	p, err := c.running(a)
	if err != nil {
		return err
	}
	if err := p.Call(c.ctx, callPatience, verb, nil, nil); err != nil {
		return err
	}
	c.printf("%s\n", done)
	return nil
}

type connectCommand struct {
	Tool string `arg:"" optional:"" help:"Such as \"VS Code\"; without one they are listed."`
}

func (t *connectCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	state := a.State()
	if p, ok := a.Mine(); ok {
		var s app.State
		if p.Call(c.ctx, callPatience, "state", nil, &s) == nil {
			state = s
		}
	}
	root := strings.TrimSuffix(state.Proxy.URL, "/v1")
	s := tray.State{Root: root, Model: state.Model}
	if text, what, ok := tray.Snippet(tray.ConnectPrefix+tray.Action(tray.ToolNamed(t.Tool)), s); ok {
		c.printf("%s\n", strings.TrimRight(text, "\n"))
		c.warnf("%s.\n", strings.Replace(what, "Copied: ", "For: ", 1))
		return nil
	}
	if t.Tool != "" {
		return fmt.Errorf("there is no recipe for %q. Most tools want the base URL %s/v1 and any API key", t.Tool, root)
	}
	for _, name := range tray.Tools() {
		c.printf("%s\n", name)
	}
	return nil
}
