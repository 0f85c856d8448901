package cli

import (
	"net/url"
	"strings"

	"codex-proxy/internal/app"
	"codex-proxy/internal/connect"
)

type startCommand struct{}

func (startCommand) Run(c *console) error { return c.command("start", "✅ The proxy is running") }

type stopCommand struct{}

func (stopCommand) Run(c *console) error {
	return c.leave("stop", "✅ The proxy is stopped; the program stays. `codex-proxy start` starts it")
}

type quitCommand struct{}

func (quitCommand) Run(c *console) error { return c.leave("quit", "✅ Codex Proxy is stopping") }

// leave ends the listening, and says which tools find nobody now.
func (c *console) leave(verb, done string) error {
	if err := c.command(verb, done); err != nil || c.settings.Demo {
		return err
	}
	var names []string
	for _, id := range app.ConnectedTools() {
		if tool, ok := connect.Named(id); ok {
			names = append(names, tool.Name)
		}
	}
	if len(names) > 0 {
		c.printf("⚠️ Still pointed at it: %s. `codex-proxy connect --undo --all` puts them back\n", strings.Join(names, ", "))
	}
	return nil
}

// command has the running program do something.
func (c *console) command(verb, done string) error {
	if err := c.call(verb, nil, nil); err != nil {
		return err
	}
	c.printf("%s\n", done)
	return nil
}

// call has the running program do something, and decodes what it answers into answer, unless that is nil.
func (c *console) call(verb string, args url.Values, answer any) error {
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	p, err := c.running(a)
	if err != nil {
		return err
	}
	return p.Call(c.ctx, callPatience, verb, args, answer)
}
