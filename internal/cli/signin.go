package cli

import (
	"errors"
	"fmt"

	"codex-proxy/creds"
	"codex-proxy/internal/app"
	"codex-proxy/proxy/codex"
)

type loginCommand struct {
	ChatGPT   bool   `name:"chatgpt" xor:"way" help:"By \"Sign in with ChatGPT\" instead, OpenAI's sign-in for apps. It is told first what that means."`
	Codex     bool   `hidden:"" help:"The Codex sign-in, which is the default."`
	Device    bool   `xor:"way" help:"By a code that you type into a browser anywhere."`
	Workspace string `placeholder:"ID" help:"Sign in to this workspace."`
	NoBrowser bool   `help:"Print the address, and don't open a browser."`
	Yes       bool   `short:"y" help:"With --chatgpt: agree to what it means without being asked."`
}

func (l *loginCommand) Run(c *console) error {
	way := app.ByBrowser
	switch {
	case l.ChatGPT && (l.Workspace != "" || l.Codex):
		return errors.New("--chatgpt is another way than the Codex sign-in, and a workspace can be chosen with that one only. Leave one out")
	case l.Device:
		way = app.ByDevice
	case l.ChatGPT:
		way = app.ByChatGPT
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.CanKeep(way); err != nil {
		return err
	}
	if err := a.CanStore(c.ctx); err != nil {
		return err
	}
	if way == app.ByChatGPT && !l.Yes {
		c.printf("%s\nThe Codex sign-in (`codex-proxy login`) has none of these limits.\n", app.ChatGPTWarning)
		if !c.ask("Sign in with ChatGPT all the same?") {
			return errors.New("nothing was changed")
		}
	}
	before := a.State().SignIn
	dots, steps := false, a.Steps
	endDots := func() {
		if dots {
			c.printf("\n")
		}
		dots = false
	}
	a.Steps = func(s creds.Step) {
		endDots()
		steps(s)
	}
	err = a.SignIn(c.ctx, app.SignInOptions{
		Way: way, Workspace: l.Workspace,
		Show: func(p app.Prompt) {
			c.showPrompt(p, l.NoBrowser, "to sign in")
			dots = p.Code != ""
		},
		Waiting: func() { c.printf(".") },
	})
	endDots()
	if err != nil && c.ctx.Err() != nil {
		if before.Status == creds.StatusNone {
			return errors.New("stopped. Nobody is signed in")
		}
		return errors.New("stopped. You are signed in as before")
	}
	if err != nil {
		return err
	}
	now := a.State().SignIn
	c.printf("✅ Signed in as %s, stored in %s\n", app.Name(now.Email, now.Plan), now.Store)
	if before.Email != "" && before.Email != now.Email {
		c.printf("⚠️ Before, it was %s\n", app.Name(before.Email, before.Plan))
	}
	return nil
}

// showPrompt says what the user must do.
func (c *console) showPrompt(p app.Prompt, noBrowser bool, what string) {
	if p.Code != "" {
		c.printf("On any device, open\n\n      %s\n\nand type this code:\n\n      %s\n\nIt is good until %s. Type it only if you started this yourself.\nWaiting ", p.Address, p.Code, p.Expires.Local().Format("15:04"))
		return
	}
	c.printf("Open this address in your browser %s:\n\n  %s\n\nWaiting for the browser, for 5 minutes. Ctrl-C ends it.\n", what, p.Address)
	if !noBrowser {
		app.OpenBrowser(p.Address) //nolint:errcheck // the address is on the screen, too
	}
}

type logoutCommand struct{}

func (logoutCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	out, err := a.SignOut(c.ctx)
	if err == nil {
		c.signedOut(out)
	}
	return err
}

// signedOut says what a sign-out did.
func (c *console) signedOut(out app.SignedOut) {
	if unread := (*creds.StoreError)(nil); errors.As(out.Revoked, &unread) {
		c.printf("✅ What was stored in %s could not be read, and is deleted. So OpenAI could not be told; the sign-in ends there by itself.\n", out.Before.Store)
		return
	}
	c.printf("✅ Signed out of %s; the sign-in is deleted from %s\n", app.Who(out.Before), out.Before.Store)
	switch {
	case out.Before.Ownership == creds.Shared:
		c.printf("It was imported from the Codex CLI, which stays signed in.\n")
	case out.Revoked != nil:
		c.printf("⚠️ OpenAI could not be told (%v). The sign-in ends there by itself.\n", out.Revoked)
	}
}

type refreshCommand struct{}

func (refreshCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Refresh(c.ctx)
}

type importCommand struct {
	From string `enum:"any,file,keychain" default:"any" placeholder:"PLACE" help:"file or keychain; by default the file, else the keychain."`
	Yes  bool   `short:"y" help:"Replace the sign-in of another account without asking."`
}

func (i *importCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	err = a.Import(c.ctx, app.ImportOptions{From: i.From, Replace: func(before, found creds.State) bool {
		return i.Yes || c.ask(fmt.Sprintf("Replace the sign-in of %s by that of %s?", app.Who(before), app.Who(found)))
	}})
	if err != nil {
		return err
	}
	now := a.State().SignIn
	c.printf("✅ Imported: signed in as %s, stored in %s\n", app.Name(now.Email, now.Plan), now.Store)
	return nil
}

type workspaceCommand struct {
	ID string `arg:"" optional:"" help:"The workspace to use from now on."`
}

func (w *workspaceCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	if w.ID != "" {
		chosen, err := a.SelectWorkspace(c.ctx, w.ID)
		if err != nil {
			return err
		}
		c.printf("✅ Using %s (%s) from now on\n", chosen.Name, chosen.ID)
		return nil
	}
	list, err := a.Workspaces(c.ctx)
	if err != nil {
		return err
	}
	c.listWorkspaces(list, a.State().SignIn.AccountID)
	return nil
}

func (c *console) listWorkspaces(list []codex.Workspace, chosen string) {
	for _, w := range list {
		mark := " "
		if w.ID == chosen {
			mark = "*"
		}
		c.printf("%s %s  %s (%s)\n", mark, w.ID, w.Name, w.Plan)
	}
}
