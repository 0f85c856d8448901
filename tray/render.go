//go:build !js && (!darwin || cgo)

package tray

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"fyne.io/systray"

	"codex-proxy/assets"
)

// Available reports whether this build can show an icon.
const Available = true

// Panel is the UI on fyne.io/systray. Traps of that library that it goes around: the menu is built once, with its
// final shape, since rebuilding one that is open kills it on Windows; a hidden line is not touched there, since that
// shows it again; a click that finds nobody waiting is lost, so each line has a goroutine that waits for it.
type Panel struct {
	clicks chan Action
	ready  chan struct{}

	mu      sync.Mutex
	ended   bool
	slots   map[string]*slot
	icon    Icon
	meter   float64
	tooltip string
}

type slot struct {
	item  *systray.MenuItem
	shown Item

	mu     sync.Mutex
	action Action
}

// NewPanel returns a UI that shows nothing until Show runs.
func NewPanel() *Panel {
	return &Panel{meter: -1, clicks: make(chan Action, 16), ready: make(chan struct{}), slots: map[string]*slot{}}
}

// Clicks receives the actions of clicked lines.
func (p *Panel) Clicks() <-chan Action { return p.clicks }

// Show takes the calling goroutine, which must be the program's first, and shows the icon until ctx ends or the
// session does. ended is called then, at most once, also when the session ends.
func (p *Panel) Show(ctx context.Context, ended func()) {
	ended = sync.OnceFunc(ended)
	quit := sync.OnceFunc(func() {
		defer func() { recover() }() //nolint:errcheck // the session bus is gone: there is nothing to take the icon from
		p.end()
		systray.Quit()
	})
	stop := context.AfterFunc(ctx, quit)
	defer stop()
	waitForPanel(ctx)
	go keepRegistered(ctx, func() { ended(); quit() })
	if runtime.GOOS == "linux" {
		systray.SetTitle("Codex Proxy") // before Run: it becomes the icon's id, too, by which panels and screen readers know it
	}
	systray.Run(func() { close(p.ready) }, func() { p.end(); ended() })
	p.end()
	ended()
}

// end stops drawing: setters crash once the session bus has gone.
func (p *Panel) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// Render shows what differs from before. Until the system is ready for the icon it does nothing; Ready tells when.
func (p *Panel) Render(v View) {
	select {
	case <-p.ready:
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	defer func() { recover() }() //nolint:errcheck // the session bus is gone: there is nothing to draw on
	if p.icon != v.Icon || p.meter != v.Meter {
		p.icon, p.meter = v.Icon, v.Meter
		setIcon(v)
	}
	if p.tooltip != v.Tooltip {
		p.tooltip = v.Tooltip
		systray.SetTooltip(v.Tooltip)
	}
	p.apply(v.Items, nil)
}

func setIcon(v View) {
	name := string(v.Icon)
	switch {
	case runtime.GOOS == "darwin":
		systray.SetTemplateIcon(withMeter(assets.Template(name), v.Meter, true), withMeter(assets.PNG(name), v.Meter, false))
	case runtime.GOOS == "windows" && v.Meter >= 0:
		systray.SetIcon(toICO(withMeter(assets.PNG(name), v.Meter, false)))
	case runtime.GOOS == "windows":
		systray.SetIcon(assets.Icon(name))
	default:
		systray.SetIcon(withMeter(assets.PNG(name), v.Meter, false))
	}
}

// Ready is closed when the icon can be drawn.
func (p *Panel) Ready() <-chan struct{} { return p.ready }

func (p *Panel) apply(items []Item, parent *systray.MenuItem) {
	for _, it := range items {
		s := p.slots[it.ID]
		if s == nil {
			s = p.add(it, parent)
		}
		s.patch(it)
		if s.item != nil {
			p.apply(it.Children, s.item)
		}
	}
}

func (p *Panel) add(it Item, parent *systray.MenuItem) *slot {
	s := &slot{shown: it}
	p.slots[it.ID] = s
	title := escape(it.Title)
	switch {
	case it.Separator:
		systray.AddSeparator()
		return s
	case parent != nil && it.Checkbox:
		s.item = parent.AddSubMenuItemCheckbox(title, "", it.Checked)
	case parent != nil:
		s.item = parent.AddSubMenuItem(title, "")
	case it.Checkbox:
		s.item = systray.AddMenuItemCheckbox(title, "", it.Checked)
	default:
		s.item = systray.AddMenuItem(title, "")
	}
	if it.Disabled {
		s.item.Disable()
	}
	if it.Hidden {
		s.item.Hide()
	}
	go func() {
		for range s.item.ClickedCh {
			s.mu.Lock()
			a := s.action
			s.mu.Unlock()
			if a != "" {
				p.clicks <- a
			}
		}
	}()
	return s
}

// patch brings the line to what it should show.
func (s *slot) patch(it Item) {
	s.mu.Lock()
	s.action = it.Action
	if it.Disabled || it.Hidden {
		s.action = ""
	}
	s.mu.Unlock()
	old := s.shown
	if s.item == nil || it.Separator {
		return
	}
	if it.Hidden {
		if !old.Hidden {
			s.item.Hide()
			s.shown.Hidden = true
		}
		return
	}
	if old.Title != it.Title {
		s.item.SetTitle(escape(it.Title))
	}
	if old.Disabled != it.Disabled {
		if it.Disabled {
			s.item.Disable()
		} else {
			s.item.Enable()
		}
	}
	if old.Checked != it.Checked {
		if it.Checked {
			s.item.Check()
		} else {
			s.item.Uncheck()
		}
	}
	if old.Hidden {
		s.item.Show()
	}
	it.Children = nil
	s.shown = it
}

// escape keeps the system from taking a character for the mark of a shortcut.
func escape(title string) string {
	switch runtime.GOOS {
	case "windows":
		return strings.ReplaceAll(title, "&", "&&")
	case "darwin":
		return title
	}
	return strings.ReplaceAll(title, "_", "__")
}
