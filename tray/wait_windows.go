package tray

import (
	"context"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var findWindow = windows.NewLazySystemDLL("user32.dll").NewProc("FindWindowW")

// waitForPanel waits up to a minute for the taskbar: right after login it may not be there yet, and an icon that is
// offered then is lost.
func waitForPanel(ctx context.Context) {
	class, err := windows.UTF16PtrFromString("Shell_TrayWnd")
	if err != nil {
		return
	}
	for range 240 {
		if window, _, _ := findWindow.Call(uintptr(unsafe.Pointer(class)), 0); window != 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(250 * time.Millisecond):
		}
	}
}
