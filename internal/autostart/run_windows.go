package autostart

import "golang.org/x/sys/windows/registry"

const (
	runKey           = `Software\Microsoft\Windows\CurrentVersion\Run`
	userVariables    = "Environment"
	machineVariables = `SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
)

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

// setForUser reports whether Windows gives a variable of this value to all programs of the user: it is set for that user,
// or else for the machine.
func setForUser(name, value string) bool {
	for _, in := range []struct {
		root registry.Key
		path string
	}{{registry.CURRENT_USER, userVariables}, {registry.LOCAL_MACHINE, machineVariables}} {
		key, err := registry.OpenKey(in.root, in.path, registry.QUERY_VALUE)
		if err != nil {
			continue
		}
		set, kind, err := key.GetStringValue(name)
		key.Close()
		if err != nil {
			continue
		}
		if kind == registry.EXPAND_SZ {
			set, err = registry.ExpandString(set)
		}
		return err == nil && set == value
	}
	return false
}
