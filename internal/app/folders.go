package app

import (
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/adrg/xdg"
)

// FindHome sets HOME where it is missing, as for some services: else all folders would be at the root of the disk.
func FindHome() {
	if os.Getenv("HOME") != "" || runtime.GOOS == "windows" {
		return
	}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		os.Setenv("HOME", u.HomeDir) //nolint:errcheck // the name is good
		xdg.Reload()
	}
}

// configHome is ~/.config, on macOS too, where other command-line programs have theirs.
func configHome() string {
	if runtime.GOOS == "windows" {
		return xdg.ConfigHome
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(xdg.Home, ".config")
}

// ConfigFolder is where the sign-in and the settings are.
func ConfigFolder() string { return filepath.Join(configHome(), "codex-proxy") }

// StateFolder is where the log is, and what the program remembers.
func StateFolder() string { return filepath.Join(xdg.StateHome, "codex-proxy") }

// CacheFolder is where the list of models is kept between starts.
func CacheFolder() string { return filepath.Join(xdg.CacheHome, "codex-proxy") }

// RunFolder is where the running programs of this user are entered. It is below the session's runtime folder where
// there is one, else below the state folder.
func RunFolder() string {
	if session := sessionFolder(); session != "" {
		return filepath.Join(session, "codex-proxy")
	}
	return filepath.Join(StateFolder(), "run")
}

// LogFile is what the program with the icon logs to.
func LogFile() string { return filepath.Join(StateFolder(), "codex-proxy.log") }

// expandHome puts the home folder in the place of a leading ~.
func expandHome(path string) string {
	if path == "~" {
		return xdg.Home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(xdg.Home, rest)
	}
	if rest, ok := strings.CutPrefix(path, `~\`); ok && runtime.GOOS == "windows" {
		return filepath.Join(xdg.Home, rest)
	}
	return path
}
