package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"codex-proxy/internal/app"
	"codex-proxy/internal/connect"
)

type connectCommand struct {
	Tool  string `arg:"" optional:"" predictor:"tool" help:"Such as claude; without one all are listed."`
	Yes   bool   `short:"y" help:"Don't ask."`
	Print bool   `xor:"what" help:"Print what to paste instead, and change nothing."`
	Undo  bool   `xor:"what" help:"Put the tool's settings back."`
	All   bool   `help:"With --undo: all tools that are connected."`
}

func (t *connectCommand) Run(c *console) error {
	if t.All && (!t.Undo || t.Tool != "") {
		return errors.New("--all goes with --undo, without a tool")
	}
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	target := c.reach(a).Target()
	if t.All {
		return t.undoAll(c, a)
	}
	if t.Tool == "" {
		if t.Undo {
			return errors.New("name the tool, or say --all")
		}
		c.listTools(a.Tools(target))
		return nil
	}
	tool, err := toolNamed(t.Tool, "Most tools want the base URL and any text as the API key: codex-proxy connect --print jetbrains")
	if err != nil {
		return err
	}
	switch {
	case t.Print:
		c.printRecipe(tool, target)
		return nil
	case t.Undo:
		return t.undo(c, a, tool.ID)
	}
	plan, err := a.PlanConnect(tool.ID, target)
	if errors.Is(err, connect.ErrNoFile) {
		c.printRecipe(tool, target)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", tool.Name, err)
	}
	if !plan.Changed() {
		c.printf("✅ %s is connected already\n", tool.Name)
		return nil
	}
	c.printf("%s", plan.Diff(c.colours()))
	if !t.Yes && !c.ask("Change it so?") {
		return errors.New("nothing was changed")
	}
	if err := a.DoPlan(plan); err != nil {
		return err
	}
	c.printf("✅ %s is connected to %s. Undo it with: codex-proxy connect --undo %s\n", tool.Name, target.Root, tool.ID)
	if tool.Where != "" {
		c.printf("%s.\n", target.Fill(tool.Where))
	}
	return nil
}

// undo puts one tool's settings back.
func (t *connectCommand) undo(c *console, a *app.App, id string) error {
	tool, _ := connect.Named(id)
	plan, err := a.PlanUndo(id)
	if err != nil {
		return fmt.Errorf("%s: %w", tool.Name, err)
	}
	if !plan.Exact && plan.Changed() {
		c.printf("%s", plan.Diff(c.colours()))
		for _, key := range plan.Kept {
			c.printf("⚠️ Changed since, and left as it is: %s\n", key)
		}
		if !t.Yes && !c.ask("The settings have been changed since. Change them so?") {
			return errors.New("nothing was changed")
		}
	}
	if err := a.DoPlan(plan); err != nil {
		return err
	}
	if len(plan.Kept) > 0 {
		c.printf("✅ %s is no longer connected; what was changed since stays\n", tool.Name)
		return nil
	}
	c.printf("✅ %s is as it was before\n", tool.Name)
	return nil
}

func (t *connectCommand) undoAll(c *console, a *app.App) error {
	ids := app.ConnectedTools()
	if len(ids) == 0 {
		c.printf("No tool is connected\n")
	}
	var failed error
	for _, id := range ids {
		failed = errors.Join(failed, t.undo(c, a, id))
	}
	return failed
}

// toolIDs are the ids of the tools that are meant.
func toolIDs(meant func(connect.Tool) bool) (ids []string) {
	for _, tool := range connect.Tools() {
		if meant(tool) {
			ids = append(ids, tool.ID)
		}
	}
	return ids
}

// toolNamed is the tool that somebody means. Who means none that there is, gets the advice.
func toolNamed(typed, advice string) (connect.Tool, error) {
	var ids []string
	for _, tool := range connect.Tools() {
		if strings.EqualFold(tool.ID, typed) || strings.EqualFold(tool.Name, typed) {
			return tool, nil
		}
		ids = append(ids, tool.ID)
	}
	guess := "."
	if near := nearest(typed, ids); near != "" {
		guess = fmt.Sprintf("; did you mean %q?", near)
	}
	return connect.Tool{}, fmt.Errorf("there is no recipe for %q%s %s", typed, guess, advice)
}

// printRecipe prints what to paste, and says where.
func (c *console) printRecipe(tool connect.Tool, target connect.Target) {
	text := connect.Print(tool, target)
	if !tool.HasFile() {
		text = tool.Text(target)
	}
	c.printf("%s\n", strings.TrimRight(text, "\n"))
	if tool.Where != "" {
		c.warnf("For: %s.\n", target.Fill(tool.Where))
	}
}

func (c *console) listTools(tools []connect.Status) {
	t := tabwriter.NewWriter(c.process.Out, 0, 0, 2, ' ', 0)
	for _, s := range tools {
		found, how := "", ""
		if s.Found {
			found = "found"
		}
		switch {
		case s.Connected:
			how = "✓ connected to " + s.Root
		case s.By != "":
			how = "connected " + s.By
		case !s.HasFile():
			how = "by hand: codex-proxy connect " + s.ID
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.ID, s.Name, found, how)
	}
	t.Flush() //nolint:errcheck // the terminal has gone
}

// reach is how the running program is, or else what this command can tell by itself. The plan's usage is not asked for.
func (c *console) reach(a *app.App) app.State {
	if p, ok := a.Mine(); ok {
		var s app.State
		if p.Call(c.ctx, callPatience, "state", nil, &s) == nil {
			return s
		}
	}
	return a.State()
}

// colours reports whether what is printed goes to a terminal that shows colours. Source: no-color.org.
func (c *console) colours() bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(c.process.Out)
}

func isTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
