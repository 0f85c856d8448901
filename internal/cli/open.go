package cli

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"codex-proxy/internal/app"
	"codex-proxy/internal/history"
)

type openCommand struct {
	Section string `arg:"" optional:"" enum:"overview,activity,usage,tools,sign-in,settings,doctor" default:"overview" help:"overview, activity, usage, tools, sign-in, settings or doctor."`
	Print   bool   `help:"Print the address, and don't open a browser. It is good once, for half a minute."`
}

func (o *openCommand) Run(c *console) error {
	var address string
	if err := c.call("open", url.Values{"section": {o.Section}}, &address); err != nil {
		return err
	}
	if o.Print || app.OpenBrowser(address) != nil {
		c.printf("%s\n", address)
		if !o.Print {
			c.warnf("No browser could be opened. Open this address within half a minute.\n")
		}
	}
	return nil
}

type usageCommand struct {
	By    string `enum:"hour,day,week,client,model" default:"day" help:"hour, day, week, client or model."`
	Since string `default:"7d" placeholder:"SPAN" help:"How far back: 24h, 7d or 4w."`
	JSON  bool   `name:"json" xor:"form" help:"Print JSON."`
	CSV   bool   `name:"csv" xor:"form" help:"Print CSV."`
}

func (u *usageCommand) Run(c *console) error {
	now := time.Now()
	since, err := history.ParseSince(u.Since, now)
	if err != nil {
		return err
	}
	app.TellOthers(c.ctx, "write", time.Second) //nolint:errcheck // then the newest requests are missing
	path := filepath.Join(app.StateFolder(), "history.db")
	if _, err := os.Stat(path); err != nil {
		c.printf("Nothing has been asked yet.\n")
		return nil
	}
	store := history.Open(path, history.Options{})
	defer store.Close()
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	usage, err := store.Usage(ctx, history.UsageQuery{By: history.By(u.By), Since: since, Until: now})
	if err != nil {
		return err
	}
	form := history.Text
	switch {
	case u.JSON:
		form = history.JSON
	case u.CSV:
		form = history.CSV
	}
	return usage.Write(c.process.Out, form)
}

// again is how the program is started again by itself.
func again(args []string) []string { return append(withoutOpenPage(args), "--open-page") }

// withoutOpenPage is what the user typed, without what a restart has added.
func withoutOpenPage(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--open-page" })
}
