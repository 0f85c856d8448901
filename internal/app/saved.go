package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"codex-proxy/internal/atomicfile"
)

// Saved is the settings file: what was chosen in the menu or on the page. Keys are the names of flags; a flag or an
// environment variable wins. "stopped" is the one key that is no flag: the proxy stays stopped until it is started.
type Saved map[string]any

// settingsMost is how many bytes the settings file may have.
const settingsMost = 1 << 20

// SettingsFile is where Saved is kept.
func SettingsFile() string { return filepath.Join(ConfigFolder(), "settings.json") }

// ReadSaved returns what was chosen; empty when nothing was. A file that can't be read is an error: nothing in it
// counts, and nothing is written over it.
func ReadSaved() (Saved, error) {
	raw, _, err := atomicfile.Read(SettingsFile(), settingsMost)
	if errors.Is(err, fs.ErrNotExist) {
		return Saved{}, nil
	}
	var s Saved
	if err == nil {
		err = json.Unmarshal(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")), &s) // with which some editors begin a file
	}
	if err != nil {
		return Saved{}, fmt.Errorf("the settings in %s can't be read (%w). Mend that file, or delete it to start with the defaults", SettingsFile(), err)
	}
	if s == nil {
		s = Saved{}
	}
	return s, nil
}

// Stopped reports whether the user stopped the proxy.
func (s Saved) Stopped() bool { stopped, _ := s["stopped"].(bool); return stopped }

// firstStartDone reports whether the user has seen the three steps of a first start.
func (s Saved) firstStartDone() bool { done, _ := s["first-start-done"].(bool); return done }

// DeniedOrigins are the pages of this machine that the user does not want to be asked about.
func (s Saved) DeniedOrigins() (out []string) {
	list, _ := s["denied-origins"].([]any)
	for _, v := range list {
		if origin, ok := v.(string); ok {
			out = append(out, origin)
		}
	}
	return out
}

// change reads the settings file, has f change it, and writes it back if that makes a difference. The demo keeps nothing.
func (a *App) change(f func(Saved)) error {
	if a.Settings.Demo {
		return nil
	}
	a.saving.Lock()
	defer a.saving.Unlock()
	s, err := ReadSaved()
	if err != nil {
		return err
	}
	before, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f(s)
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil || bytes.Equal(raw, before) {
		return err
	}
	return atomicfile.Write(SettingsFile(), append(raw, '\n'))
}

// ShowMeter has the icon show the fuller limit, or no longer.
func (a *App) ShowMeter(on bool) error {
	a.mu.Lock()
	a.meter = on
	a.mu.Unlock()
	a.changed(false)
	return a.change(func(s Saved) { s["icon-meter"] = on })
}
