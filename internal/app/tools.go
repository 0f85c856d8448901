package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adrg/xdg"

	"codex-proxy/internal/connect"
	"codex-proxy/internal/keys"
	"codex-proxy/internal/page"
	"codex-proxy/tray"
)

// toolSystem is this machine, for finding tools.
func toolSystem() connect.System {
	config := filepath.Join(xdg.Home, ".config")
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		config = dir
	}
	return connect.System{OS: runtime.GOOS, Home: xdg.Home, Config: config, Getenv: os.Getenv, Look: exec.LookPath}
}

// toolsFolder is where it is written down what connecting a tool has changed.
func toolsFolder() string { return filepath.Join(StateFolder(), "connect") }

// tools are the tools of this user.
func (a *App) tools() *connect.Connections {
	return &connect.Connections{Folder: toolsFolder(), System: toolSystem(), Keys: toolKeys{a.keys}, NewKey: keys.New}
}

// Target is where tools are pointed: at a state's proxy.
func (s State) Target() connect.Target {
	return connect.Target{Root: strings.TrimSuffix(s.Proxy.URL, "/v1"), Model: s.Model, Key: "x"}
}

// Tools says how each tool is, for a proxy that is where the target says.
func (a *App) Tools(target connect.Target) []connect.Status { return a.tools().List(target.Root) }

// PlanConnect works out what connecting a tool changes; see connect.Connections.
func (a *App) PlanConnect(id string, target connect.Target) (*connect.Plan, error) {
	return a.tools().Plan(id, target)
}

// PlanUndo works out what putting a tool's settings back changes; see connect.Connections.
func (a *App) PlanUndo(id string) (*connect.Plan, error) { return a.tools().PlanUndo(id) }

// DoPlan carries out what was planned, and has it shown, by other running programs, too.
func (a *App) DoPlan(plan *connect.Plan) error {
	err := a.tools().Do(plan)
	a.show()
	return err
}

// show has what was changed shown, by other running programs, too.
func (a *App) show() {
	a.changed(false)
	TellOthers(context.Background(), "look", time.Second) //nolint:errcheck // they look by themselves a little later
}

// ConnectedTools lists the ids of the tools that are connected.
func ConnectedTools() []string {
	return (&connect.Connections{Folder: toolsFolder()}).Connected()
}

// RunTool is the command that starts a tool pointed at a target, without writing anything.
func (a *App) RunTool(id string, target connect.Target, args []string) (*connect.Command, error) {
	return connect.Start(id, target, args, toolSystem())
}

// updateTools points what is connected at where the proxy is now. It is called when the user has chosen another port.
func (a *App) updateTools() {
	if a.Settings.Demo {
		return
	}
	root := a.State().Target().Root
	updated, err := a.tools().Update(root)
	if len(updated) > 0 {
		a.log.Infof("🔌 These tools point at %s now: %s. Start them again", root, strings.Join(updated, ", "))
	}
	if err != nil {
		a.log.Warnf("⚠️ %v", err)
	}
}

// toggleTool is what a click on a tool in the menu does: it connects, or puts everything back. copy is what to put into
// the clipboard of a tool that has no file; told is what to say.
func (a *App) toggleTool(id string) (copy, told string, err error) {
	tool, ok := connect.Named(id)
	if !ok {
		return "", "", fmt.Errorf("there is no tool %q", id)
	}
	if !tool.HasFile() {
		return tool.Text(a.State().Target()), "Copied: " + tool.Where, nil
	}
	message, err := a.connectTool(id, !slices.Contains(ConnectedTools(), id))
	return "", message.Message, err
}

// connectTool connects a tool, or puts everything back, and says how that went.
func (a *App) connectTool(id string, on bool) (page.Message, error) {
	target := a.State().Target()
	plan, err := a.PlanUndo(id)
	if on {
		plan, err = a.PlanConnect(id, target)
	}
	if err == nil {
		err = a.DoPlan(plan)
	}
	switch {
	case err != nil:
		return page.Message{}, fmt.Errorf("%s: %w", id, err)
	case !on:
		return page.Message{Message: undone(plan)}, nil
	}
	told := plan.Tool.Name + " is connected. Start it again"
	if plan.Tool.Where != "" {
		told += ". " + target.Fill(plan.Tool.Where)
	}
	return page.Message{Message: told}, nil
}

// undone says how an undo went.
func undone(plan *connect.Plan) string {
	told := plan.Tool.Name + " is as it was before"
	if len(plan.Kept) > 0 {
		told = plan.Tool.Name + " is no longer connected. These have been changed since, and stay: " + strings.Join(plan.Kept, ", ")
	}
	return told
}

// trayTools are the tools as the menu shows them.
func (a *App) trayTools() (out []tray.Tool) {
	connected := map[string]bool{}
	for _, id := range ConnectedTools() {
		connected[id] = true
	}
	for _, tool := range connect.Tools() {
		out = append(out, tray.Tool{ID: tool.ID, Name: tool.Name, Connected: connected[tool.ID]})
	}
	return out
}

// toolsList are the tools as the page shows them.
func (p *pageApp) toolsList(s State) []page.Tool {
	out := []page.Tool{}
	target := s.Target()
	used := map[string]string{}
	for _, k := range p.Keys() {
		if !k.Used.IsZero() {
			used[k.Name] = k.Used.Format("2006-01-02T15:04:05Z07:00")
		}
	}
	for _, t := range p.Tools(target) {
		one := page.Tool{ID: t.ID, Name: t.Name, Found: t.Found, Connected: t.Connected, HasFile: t.HasFile(), Where: target.Fill(t.Where), LastUsed: used[t.ID]}
		if t.HasFile() {
			one.Recipe = connect.Print(t.Tool, target)
		} else {
			one.Recipe = t.Text(target)
		}
		if t.CanRun() {
			one.Run = "codex-proxy run " + t.ID
		}
		switch {
		case t.Connected && t.Root != target.Root:
			one.Trouble = "points at " + t.Root
		case t.By != "":
			one.Trouble = "connected " + t.By
		}
		out = append(out, one)
	}
	return out
}

// toolPreview is what the page shows before a tool is connected or put back.
func (a *App) toolPreview(id string) (page.Preview, error) {
	plan, err := a.PlanUndo(id)
	out := page.Preview{Files: []page.FileChange{}}
	if errors.Is(err, connect.ErrNotConnected) {
		plan, err = a.PlanConnect(id, a.State().Target())
		if err == nil {
			out.Note = a.State().Target().Fill(plan.Tool.Where)
		}
	}
	if err != nil {
		return out, err
	}
	for _, change := range plan.Changes {
		out.Files = append(out.Files, page.FileChange{Path: change.Path, Diff: change.Diff(false)})
	}
	if len(plan.Kept) > 0 {
		out.Note = "Changed since, and left as they are: " + strings.Join(plan.Kept, ", ")
	}
	return out, nil
}

// PortTaken reports whether a port of this machine can't be listened on. 0 never is.
func PortTaken(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return true
	}
	l.Close()
	return false
}
