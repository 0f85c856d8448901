package tray

import (
	"context"
	"sync"

	"github.com/gen2brain/beeep"
	"github.com/godbus/dbus/v5"

	"codex-proxy/assets"
)

const (
	notifications     = "org.freedesktop.Notifications"
	notificationsPath = "/org/freedesktop/Notifications"
)

// Desktop shows notifications by the desktop's own service, with buttons, on a connection of its own; where there is
// none it falls back on beeep. Source: Desktop Notifications Specification 1.2.
type Desktop struct {
	conn    *dbus.Conn // nil without a session bus
	clicked chan Action

	mu    sync.Mutex
	ids   map[string]uint32 // problem -> notification
	doing map[uint32]Action
}

// NewDesktop returns a Notifier that works until ctx ends.
func NewDesktop(ctx context.Context) *Desktop {
	d := &Desktop{clicked: make(chan Action, 8), ids: map[string]uint32{}, doing: map[uint32]Action{}}
	beeep.AppName = "Codex Proxy"
	conn, err := dbus.ConnectSessionBus(dbus.WithContext(ctx))
	if err != nil {
		return d
	}
	d.conn = conn
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	if conn.AddMatchSignal(dbus.WithMatchInterface(notifications), dbus.WithMatchMember("ActionInvoked")) == nil {
		go d.listen(signals)
	}
	return d
}

func (d *Desktop) listen(signals <-chan *dbus.Signal) {
	for s := range signals { // closed with the connection
		if s.Name != notifications+".ActionInvoked" || len(s.Body) != 2 {
			continue
		}
		id, _ := s.Body[0].(uint32)
		d.mu.Lock()
		a := d.doing[id]
		delete(d.doing, id)
		d.mu.Unlock()
		if a != "" {
			d.clicked <- a
		}
	}
}

// Clicked receives the actions of clicked notifications.
func (d *Desktop) Clicked() <-chan Action { return d.clicked }

// Notify shows n, in the place of an earlier one about the same problem.
func (d *Desktop) Notify(n Notice) {
	d.mu.Lock()
	replaces := d.ids[n.Problem]
	d.mu.Unlock()
	var id uint32
	if d.conn != nil {
		var actions []string
		if n.Action != "" {
			actions = []string{"default", n.Button, "do", n.Button}
		}
		urgency := byte(1)
		if n.Problem != "" && n.Problem != "imported" {
			urgency = 2
		}
		err := d.conn.Object(notifications, notificationsPath).Call(notifications+".Notify", 0,
			"Codex Proxy", replaces, "", n.Title, n.Body, actions, map[string]dbus.Variant{"urgency": dbus.MakeVariant(urgency)}, int32(-1)).Store(&id)
		if err == nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			if n.Problem != "" {
				d.ids[n.Problem] = id
			}
			if n.Action != "" {
				d.doing[id] = n.Action
			}
			return
		}
	}
	beeep.Notify(n.Title, n.Body, assets.PNG("running")) //nolint:errcheck // nobody can be told: it is in the log and in status
}

// Withdraw closes the notification about a problem that has ended.
func (d *Desktop) Withdraw(problem string) {
	d.mu.Lock()
	id, ok := d.ids[problem]
	delete(d.ids, problem)
	delete(d.doing, id)
	d.mu.Unlock()
	if ok && d.conn != nil {
		d.conn.Object(notifications, notificationsPath).Call(notifications+".CloseNotification", 0, id)
	}
}
