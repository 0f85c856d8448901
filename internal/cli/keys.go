package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"codex-proxy/internal/app"
	"codex-proxy/internal/connect"
)

type keysCommand struct {
	List   keysListCommand   `cmd:"" default:"1" help:"List them: names, and when each was used last."`
	Add    keysAddCommand    `cmd:"" help:"Make a key and print it. It can't be shown again."`
	Revoke keysRevokeCommand `cmd:"" help:"Take a key away. Who uses it is refused within a second, where keys are asked for."`
}

type keysListCommand struct{}

func (keysListCommand) Run(c *console) error {
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	list := a.Keys()
	if err := a.KeysProblem(); err != nil {
		return err
	}
	if len(list) == 0 {
		c.printf("There are no named keys. `codex-proxy keys add NAME` makes one; a tool that is connected gets its own\n")
		return nil
	}
	t := tabwriter.NewWriter(c.process.Out, 0, 0, 2, ' ', 0)
	for _, k := range list {
		used := "never used"
		if !k.Used.IsZero() {
			used = "used " + k.Used.Local().Format("2006-01-02 15:04")
		}
		routes := "all routes"
		if len(k.Routes) > 0 {
			routes = fmt.Sprint(k.Routes)
		}
		fmt.Fprintf(t, "%s\tsince %s\t%s\t%s\n", k.Name, k.Created.Local().Format(time.DateOnly), used, routes)
	}
	return t.Flush()
}

type keysAddCommand struct {
	Name  string   `arg:"" help:"For whom or what it is."`
	Route []string `placeholder:"ROUTE" help:"Make it good for this route only, such as /chat/completions; several are separated by commas."`
}

func (k *keysAddCommand) Run(c *console) error {
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	key, err := a.MakeKey(k.Name, k.Route...)
	if err != nil {
		return err
	}
	c.printf("%s\n", key)
	c.warnf("This is the only time it is shown. Programs of this machine need no key unless you say --require-key.\n")
	return nil
}

type keysRevokeCommand struct {
	Name string `arg:"" help:"The key's name."`
}

func (k *keysRevokeCommand) Run(c *console) error {
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.RevokeKey(k.Name); err != nil {
		return fmt.Errorf("%w: %s", err, k.Name)
	}
	c.printf("✅ The key %s is no longer good\n", k.Name)
	if tool, ok := connect.Named(k.Name); ok {
		for _, id := range app.ConnectedTools() {
			if id == tool.ID {
				c.printf("%s still has it in its settings: codex-proxy connect --undo %s\n", tool.Name, id)
			}
		}
	}
	return nil
}
