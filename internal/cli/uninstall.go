package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/app"
	"codex-proxy/internal/control"
)

// uninstallCommand takes away what the program has put into the user's home. The program itself is the package's.
type uninstallCommand struct {
	Purge bool `help:"Also end the sign-in at OpenAI, and delete it, the settings, the history and the log."`
	Yes   bool `short:"y" help:"Don't ask."`
}

// endPatience is how long a program that was told to quit may take: answers under way end first, and a refresh that was
// sent is waited for.
const endPatience = 90 * time.Second

func (u *uninstallCommand) Run(c *console) error {
	if u.Purge && !u.Yes && !c.ask("End the sign-in, and delete it with the settings, the history and the log?") {
		return errors.New("nothing was changed")
	}
	failed := false
	step := func(done string, err error) {
		switch {
		case errors.Is(err, os.ErrNotExist): // there was none
		case err != nil:
			failed = true
			c.printf("❌ %v\n", err)
		case done != "":
			c.printf("✅ %s\n", done)
		}
	}
	entry := app.LoginEntry(nil)
	removed, err := entry.UninstallService()
	step("The service is removed"+listed(removed), err)
	step("Nothing starts at login any more", entry.Disable())
	step("", c.disconnectAll())
	step(c.endAll())
	if u.Purge && failed {
		return errors.New("the sign-in and the settings are kept, because something could not be undone. Run the command again")
	}
	if u.Purge {
		usesKeychain := c.usesKeychain()
		step("", c.endSignIn())
		if usesKeychain && !failed {
			step("The key is deleted from the keychain", creds.ForgetKeychain(c.ctx))
		}
	}
	if u.Purge && !failed {
		for _, folder := range []string{app.ConfigFolder(), app.StateFolder(), app.CacheFolder(), app.RunFolder()} {
			if _, err := os.Lstat(folder); err == nil {
				step("Deleted "+folder, os.RemoveAll(folder))
			}
		}
	}
	if failed {
		return errors.New("not everything could be undone. Run the command again when that is put right")
	}
	if !u.Purge {
		c.printf("Your sign-in and settings are kept in %s; `codex-proxy uninstall --purge` deletes them.\n", app.ConfigFolder())
	}
	return nil
}

// disconnectAll puts back the settings of every tool that is connected, but what was changed in them since.
func (c *console) disconnectAll() error {
	ids := app.ConnectedTools()
	if len(ids) == 0 {
		return nil
	}
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	var failed error
	for _, id := range ids {
		failed = errors.Join(failed, (&connectCommand{Yes: true}).undo(c, a, id))
	}
	return failed
}

// endAll has every running program of this user quit, and waits until it has.
func (c *console) endAll() (done string, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, endPatience)
	defer cancel()
	for _, p := range app.Programs() {
		if err := p.Call(ctx, callPatience, "quit", nil, nil); err != nil {
			return "", fmt.Errorf("the running Codex Proxy (process %d) could not be ended: %w", p.PID, err)
		}
		done = "The running proxy has ended"
	}
	return done, ended(ctx, func(control.Program) bool { return true })
}

// ended waits until none of the running programs is one of these.
func ended(ctx context.Context, these func(control.Program) bool) error {
	for slices.ContainsFunc(app.Programs(), these) {
		select {
		case <-ctx.Done():
			return errors.New("the running Codex Proxy takes long to end: an answer or a refresh is under way")
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// usesKeychain reports whether a key of ours may be in the keychain. Else that is not asked: it might ask the user.
func (c *console) usesKeychain() bool {
	if c.settings.CredsStore == "keychain" {
		return true
	}
	_, err := os.Stat(filepath.Join(app.ConfigFolder(), "auth.enc"))
	return err == nil
}

// endSignIn signs out, if anybody is signed in. The stores "legacy" and "env" are not ours to end.
func (c *console) endSignIn() error {
	if c.settings.CredsStore == "legacy" || c.settings.CredsStore == "env" {
		return nil
	}
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	in := a.State().SignIn
	unread := in.Cause == creds.CauseStoreUnreadable
	if in.Status == creds.StatusNone && !unread {
		return nil
	}
	out, err := a.SignOut(c.ctx)
	var store *creds.StoreError
	switch {
	case err == nil:
		c.signedOut(out)
	case unread && errors.As(err, &store): // it goes with its folder
		c.printf("⚠️ %s. So OpenAI could not be told; the sign-in ends there by itself.\n", in.Problem)
		return nil
	}
	return err
}
