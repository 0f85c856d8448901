package app

import (
	"os/user"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/adrg/xdg"
)

// TestFoldersAreTheUsersWithoutHOME: a service may have none.
func TestFoldersAreTheUsersWithoutHOME(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no HOME")
	}
	t.Cleanup(xdg.Reload) // when the variables are as before
	u, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"} {
		t.Setenv(name, "")
	}
	xdg.Reload()
	FindHome()
	if got, want := ConfigFolder(), filepath.Join(u.HomeDir, ".config", "codex-proxy"); got != want {
		t.Errorf("%s, not %s", got, want)
	}
	if got := StateFolder(); filepath.Dir(filepath.Dir(got)) == "/" || got[0] != '/' {
		t.Error(got)
	}
}
