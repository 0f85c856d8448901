package tray

import (
	"cmp"
	"context"
	"encoding/xml"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"git.sr.ht/~jackmordaunt/go-toast/wintoast"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"codex-proxy/assets"
)

const (
	// appID is the AppUserModelID: under it Windows knows the name and the icon of who sends a notification.
	// Source: Microsoft, "Application User Model IDs".
	appID = "CodexProxy.CodexProxy"
	// activator is the COM class by which a click on a toast reaches this program while it runs.
	activator = "{6E8B7B0C-3C1B-4D6D-9E0A-0C7A4E4E0B51}"
)

// Desktop shows notifications as toasts. Where the system has none nothing is shown: the balloons of older systems
// would bring a second icon.
type Desktop struct {
	orders  chan Notice
	clicked chan Action
}

// NewDesktop returns a Notifier that works until ctx ends.
func NewDesktop(ctx context.Context) *Desktop {
	d := &Desktop{orders: make(chan Notice, 32), clicked: make(chan Action, 8)}
	go d.run(ctx)
	return d
}

func (d *Desktop) run(ctx context.Context) {
	defer func() { recover() }() //nolint:errcheck // the system's notifications failed: it is in the menu, the log and status
	introduce(picture(IconRunning))
	wintoast.SetActivationCallback(func(_, args string, _ []wintoast.UserData) {
		select {
		case d.clicked <- Action(args):
		default:
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-d.orders:
			wintoast.Push(toast(n, picture(n.icon()))) //nolint:errcheck // see run
		}
	}
}

// picture is a file with an icon, as the system takes it; empty when there can be none.
func picture(icon Icon) string {
	path := filepath.Join(os.TempDir(), "codex-proxy-notification-"+string(icon)+".png")
	if os.WriteFile(path, assets.PNG(string(icon)), 0o600) != nil {
		return ""
	}
	return path
}

// introduce gives the process its AppUserModelID, and tells the system its name and icon.
func introduce(icon string) {
	set := windows.NewLazySystemDLL("shell32.dll").NewProc("SetCurrentProcessExplicitAppUserModelID")
	if id, err := syscall.UTF16PtrFromString(appID); err == nil && set.Find() == nil {
		set.Call(uintptr(unsafe.Pointer(id))) //nolint:errcheck // Windows then makes one up
	}
	wintoast.SetAppData(wintoast.AppData{AppID: appID, GUID: activator, IconPath: icon}) //nolint:errcheck // then toasts have no name
	if key, err := registry.OpenKey(registry.CURRENT_USER, `Software\Classes\AppUserModelId\`+appID, registry.SET_VALUE); err == nil {
		key.SetStringValue("DisplayName", "Codex Proxy") //nolint:errcheck // see above
		key.Close()
	}
}

// toast is a notification as Windows takes it. Source: Microsoft, "Toast schema".
func toast(n Notice, icon string) string {
	type text struct {
		Text string `xml:",chardata"`
	}
	type picture struct {
		Placement string `xml:"placement,attr"`
		Source    string `xml:"src,attr"`
	}
	type button struct {
		Type      string `xml:"activationType,attr"`
		Content   string `xml:"content,attr"`
		Arguments string `xml:"arguments,attr"`
	}
	type document struct {
		XMLName xml.Name `xml:"toast"`
		Launch  string   `xml:"launch,attr"`
		Binding struct {
			Template string   `xml:"template,attr"`
			Picture  *picture `xml:"image"`
			Texts    []text   `xml:"text"`
		} `xml:"visual>binding"`
		Buttons []button `xml:"actions>action"`
		Audio   struct {
			Silent bool `xml:"silent,attr"`
		} `xml:"audio"`
	}
	t := document{Launch: string(n.Action)}
	t.Binding.Template = "ToastGeneric"
	t.Binding.Texts = []text{{n.Title}, {n.Body}}
	if icon != "" {
		t.Binding.Picture = &picture{"appLogoOverride", icon}
	}
	if n.Button != "" {
		t.Buttons = []button{{"foreground", n.Button, string(cmp.Or(n.Press, n.Action))}}
	}
	t.Audio.Silent = true
	raw, err := xml.Marshal(t)
	if err != nil {
		panic(err) // texts only
	}
	return string(raw)
}

// Clicked receives the actions of clicked notifications.
func (d *Desktop) Clicked() <-chan Action { return d.clicked }

// Notify shows n.
func (d *Desktop) Notify(n Notice) {
	select {
	case d.orders <- n:
	default:
	}
}

// Withdraw does nothing: toasts pass by themselves.
func (*Desktop) Withdraw(string) {}

// Close does nothing: toasts pass by themselves.
func (*Desktop) Close() {}
