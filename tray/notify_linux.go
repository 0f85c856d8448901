package tray

import (
	"bytes"
	"cmp"
	"context"
	"image"
	"image/draw"
	_ "image/png" // the icon is one
	"time"

	"github.com/godbus/dbus/v5"

	"codex-proxy/assets"
)

const (
	notifications     = "org.freedesktop.Notifications"
	notificationsPath = "/org/freedesktop/Notifications"
	// notifyPatience is how long the notification service may take; one that hangs delays only what comes after.
	notifyPatience = 5 * time.Second
	// notifyQueue is how many orders wait for a service that hangs; the newest beyond that are dropped.
	notifyQueue = 32
	// closePatience is how long the end of the program waits for the service.
	closePatience = time.Second
)

// Desktop shows notifications by the desktop's own service, with buttons, on a connection of its own. A goroutine of
// its own talks to the service. Source: Desktop Notifications Specification 1.2.
type Desktop struct {
	orders  chan func(*service)
	clicked chan Action
	ended   chan struct{}
}

// service is the notification service, as Desktop's goroutine sees it.
type service struct {
	conn  *dbus.Conn
	ids   map[string]uint32 // problem -> notification
	doing map[uint32]Notice // those that can be clicked
}

// NewDesktop returns a Notifier that works until ctx ends.
func NewDesktop(ctx context.Context) *Desktop {
	d := &Desktop{orders: make(chan func(*service), notifyQueue), clicked: make(chan Action, 8), ended: make(chan struct{})}
	conn, err := dbus.ConnectSessionBus()
	if err != nil {
		close(d.ended)
		return d // what is ordered is never carried out: it is in the menu, the log and status
	}
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	for _, member := range []string{"ActionInvoked", "NotificationClosed"} {
		conn.AddMatchSignal(dbus.WithMatchInterface(notifications), dbus.WithMatchMember(member)) //nolint:errcheck // then clicks do nothing
	}
	conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, notifications)) //nolint:errcheck // then it is taken for the same one
	s := &service{conn: conn, ids: map[string]uint32{}, doing: map[uint32]Notice{}}
	go func() {
		defer close(d.ended)
		defer conn.Close()
		for {
			select {
			case <-ctx.Done():
				for id := range s.doing {
					s.call("CloseNotification", id)
				}
				return
			case order := <-d.orders:
				order(s)
			case signal, ok := <-signals:
				if !ok {
					return // the session has ended
				}
				if a := s.answer(signal); a != "" {
					select {
					case d.clicked <- a:
					default: // nobody takes clicks any more
					}
				}
			}
		}
	}()
	return d
}

func (d *Desktop) order(f func(*service)) {
	select {
	case d.orders <- f:
	default:
	}
}

// Close waits, for a moment, until the notifications that can be clicked are taken away, as they are once ctx ends:
// nobody hears their buttons any more.
func (d *Desktop) Close() {
	select {
	case <-d.ended:
	case <-time.After(closePatience):
	}
}

// Clicked receives the actions of clicked notifications.
func (d *Desktop) Clicked() <-chan Action { return d.clicked }

// Notify shows n, in the place of an earlier one about the same problem.
func (d *Desktop) Notify(n Notice) { d.order(func(s *service) { s.notify(n) }) }

// Withdraw closes the notification about a problem that has ended.
func (d *Desktop) Withdraw(problem string) { d.order(func(s *service) { s.withdraw(problem) }) }

// answer is the action of the notification that was clicked. Once a service has gone, the next one gives the numbers of
// ours to other programs.
func (s *service) answer(signal *dbus.Signal) Action {
	if signal.Name == "org.freedesktop.DBus.NameOwnerChanged" && len(signal.Body) == 3 && signal.Body[1] != "" {
		clear(s.ids)
		clear(s.doing)
	}
	if len(signal.Body) != 2 {
		return ""
	}
	id, _ := signal.Body[0].(uint32)
	n := s.doing[id]
	switch signal.Name {
	case notifications + ".NotificationClosed":
		delete(s.doing, id)
	case notifications + ".ActionInvoked": // it may stay there, to be clicked again
		if signal.Body[1] == "do" {
			return cmp.Or(n.Press, n.Action)
		}
		return n.Action
	}
	return ""
}

func (s *service) call(method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(context.Background(), notifyPatience)
	defer cancel()
	return s.conn.Object(notifications, notificationsPath).CallWithContext(ctx, notifications+"."+method, 0, args...)
}

func (s *service) notify(n Notice) {
	actions := []string{}
	if n.Action != "" {
		actions = append(actions, "default", "Open")
	}
	if n.Button != "" {
		actions = append(actions, "do", n.Button)
	}
	urgency := byte(2)
	if n.Quiet {
		urgency = 1
	}
	hints := map[string]dbus.Variant{
		"urgency":       dbus.MakeVariant(urgency),
		"desktop-entry": dbus.MakeVariant("codex-proxy"),
		"image-data":    iconData(assets.PNG(string(n.icon()))),
	}
	var id uint32
	if s.call("Notify", "Codex Proxy", s.ids[n.Problem], "codex-proxy", n.Title, n.Body, actions, hints, int32(-1)).Store(&id) != nil {
		return // it is in the menu, the log and status
	}
	if n.Problem != "" {
		s.ids[n.Problem] = id
	}
	if n.Action != "" {
		s.doing[id] = n
	}
}

func (s *service) withdraw(problem string) {
	id, ok := s.ids[problem]
	delete(s.ids, problem)
	delete(s.doing, id)
	if ok {
		s.call("CloseNotification", id)
	}
}

// iconData is a picture as the service takes it: width, height, bytes a row, alpha, bits a sample, samples, bytes.
func iconData(png []byte) dbus.Variant {
	picture, _, err := image.Decode(bytes.NewReader(png))
	if err != nil {
		panic(err) // the icons are part of the program
	}
	size := picture.Bounds()
	flat := image.NewNRGBA(image.Rect(0, 0, size.Dx(), size.Dy()))
	draw.Draw(flat, flat.Bounds(), picture, size.Min, draw.Src)
	return dbus.MakeVariant(struct {
		Width, Height, Stride int32
		Alpha                 bool
		Bits, Samples         int32
		Data                  []byte
	}{int32(size.Dx()), int32(size.Dy()), int32(flat.Stride), true, 8, 4, flat.Pix})
}
