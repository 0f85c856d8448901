package autostart

import "golang.org/x/sys/windows/registry"

const runKey = `Software\Microsoft\Windows\CurrentVersion\Run`

// readRun is the command line that Windows runs at login; empty when there is none.
func readRun() string {
	key, err := registry.OpenKey(registry.CURRENT_USER, runKey, registry.QUERY_VALUE)
	if err != nil {
		return ""
	}
	defer key.Close()
	line, _, err := key.GetStringValue(Name)
	if err != nil {
		return ""
	}
	return line
}

// writeRun sets it; empty removes it.
func writeRun(line string) error {
	key, _, err := registry.CreateKey(registry.CURRENT_USER, runKey, registry.SET_VALUE)
	if err != nil {
		return err
	}
	defer key.Close()
	if line == "" {
		if err := key.DeleteValue(Name); err != nil && err != registry.ErrNotExist { //nolint:errorlint // a system error number
			return err
		}
		return nil
	}
	return key.SetStringValue(Name, line)
}

// setForUser reports whether Windows gives a variable of this value to all programs of the user.
func setForUser(name, value string) bool {
	key, err := registry.OpenKey(registry.CURRENT_USER, "Environment", registry.QUERY_VALUE)
	if err != nil {
		return false
	}
	defer key.Close()
	set, _, err := key.GetStringValue(name)
	return err == nil && set == value
}
