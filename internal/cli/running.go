package cli

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
