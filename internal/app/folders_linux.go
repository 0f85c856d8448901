package app

import (
	"os"
	"syscall"

	"github.com/adrg/xdg"
)

// sessionFolder is the runtime folder of the user's session; empty where there is none. su and sudo pass on the variable
// of the user who called them: that one's folder is not for this one.
// Source: XDG Base Directory Specification, $XDG_RUNTIME_DIR.
func sessionFolder() string {
	info, err := os.Stat(xdg.RuntimeDir)
	if err != nil || !info.IsDir() {
		return ""
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
		return ""
	}
	return xdg.RuntimeDir
}
