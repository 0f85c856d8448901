package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/adrg/xdg"
)

// TestTheRuntimeFolderOfAnotherUserIsNotUsed: su passes the variable on.
func TestTheRuntimeFolderOfAnotherUserIsNotUsed(t *testing.T) {
	t.Cleanup(xdg.Reload) // when the variables are as before
	theirs := t.TempDir()
	if os.Getuid() != 0 {
		theirs = "/usr"
	} else if err := os.Chown(theirs, 4711, 4711); err != nil {
		t.Skip(err)
	}
	own := t.TempDir()
	for dir, want := range map[string]string{theirs: filepath.Join(StateFolder(), "run"), own: filepath.Join(own, "codex-proxy")} {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		xdg.Reload()
		if got := RunFolder(); got != want {
			t.Errorf("%s: %s, not %s", dir, got, want)
		}
	}
}
