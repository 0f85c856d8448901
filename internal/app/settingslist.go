package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"codex-proxy/internal/page"
)

// field is a setting, read off the tags of Settings: one place says what can be set.
type field struct {
	name    string // of the flag
	index   int
	tag     reflect.StructTag
	kind    string // page.Setting's
	choices []string
	restart bool // a change takes effect after a restart
}

// live are the settings whose change takes effect at once.
var live = map[string]bool{"port": true, "icon-meter": true, "allow-origin": true, "mute": true}

var (
	durationType = reflect.TypeFor[time.Duration]()
	portType     = reflect.TypeFor[Port]()
)

// fields lists what can be set on the page: everything that a flag can, but for what only makes sense on a command line.
func fields() (out []field) {
	t := reflect.TypeFor[Settings]()
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Tag.Get("env") == "" || f.Tag.Get("hidden") == "" && strings.Contains(string(f.Tag), `hidden:""`) || f.Name == "Demo" {
			continue
		}
		one := field{name: f.Tag.Get("name"), index: i, tag: f.Tag}
		if one.name == "" {
			one.name = flagName(f.Name)
		}
		switch {
		case f.Type.Kind() == reflect.Bool:
			one.kind = "switch"
		case f.Tag.Get("enum") != "" && f.Type.Kind() == reflect.String:
			one.kind, one.choices = "choice", strings.Split(f.Tag.Get("enum"), ",")
		case one.name == "env":
			one.kind, one.choices = "choice", []string{"development", "production"}
		case f.Type == portType || f.Type.Kind() == reflect.Int:
			one.kind = "number"
		case f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map:
			one.kind = "list"
		default:
			one.kind = "text"
		}
		one.restart = !live[one.name]
		out = append(out, one)
	}
	return out
}

// flagName is a field's name as a flag: IdleTimeout, APIKey -> idle-timeout, api-key.
func flagName(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// show is a value as the page shows it.
func (f field) show(v reflect.Value) any {
	switch {
	case f.name == "https-proxy":
		return withoutPassword(v.String())
	case v.Type() == durationType:
		return v.Interface().(time.Duration).String()
	case v.Kind() == reflect.Map:
		list := []string{}
		for _, key := range v.MapKeys() {
			list = append(list, key.String()+"="+v.MapIndex(key).String())
		}
		slices.Sort(list)
		return list
	case v.Kind() == reflect.Slice:
		list := []string{}
		for i := range v.Len() {
			list = append(list, v.Index(i).String())
		}
		return list
	case v.CanInt():
		return v.Int()
	}
	return v.Interface()
}

// usual is the value that holds when nothing is set.
func (f field) usual(t reflect.Type) any {
	text := f.tag.Get("default")
	switch f.kind {
	case "switch":
		return text == "true"
	case "number":
		n := 0
		fmt.Sscan(text, &n) //nolint:errcheck // the tags are ours
		return n
	case "list":
		return []string{}
	}
	if t == durationType {
		d, _ := time.ParseDuration(text)
		return d.String()
	}
	return text
}

// withoutPassword hides the password of an address, which a variable may say in a way that url.Parse does not know.
func withoutPassword(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	begin := 0
	if scheme := strings.Index(address[:at], "://"); scheme >= 0 {
		begin = scheme + 3
	}
	if colon := strings.IndexByte(address[begin:at], ':'); colon >= 0 {
		return address[:begin+colon+1] + hidden + address[at:]
	}
	return address
}

// secret settings are not shown.
func (f field) secret() bool { return strings.HasSuffix(f.name, "api-key") }

// settingsList is all that can be set, with what the settings file says of it.
func (p *pageApp) settingsList(saved Saved) []page.Setting {
	next := p.next(saved)
	next.Check() //nolint:errcheck // it brings what is spelled in another way to one form; what is wrong is refused at the start
	now, then := reflect.ValueOf(&p.Settings).Elem(), reflect.ValueOf(&next).Elem()
	out := []page.Setting{}
	if entry := p.life.Login; entry != nil {
		one := page.Setting{Name: startAtLogin, Label: "Start at login", Help: "Start with the icon when you log in to this machine.", Group: "General", Kind: "switch", Value: entry.Enabled(), Default: false, Source: page.FromDefault}
		if one.Value == true {
			one.Source = page.FromFile
		}
		out = append(out, one)
	}
	for _, f := range fields() {
		group := f.tag.Get("group")
		if group == "" {
			group = "General"
		}
		one := page.Setting{
			Name: f.name, Label: label(f.name), Help: help(f.tag), Group: group, Kind: f.kind, Choices: f.choices,
			Value: f.show(now.Field(f.index)), Default: f.usual(now.Field(f.index).Type()), Flag: "--" + f.name, Env: f.tag.Get("env"), Restart: f.restart,
			Source: map[Source]string{FromFlag: page.FromFlag, FromEnv: page.FromEnvironment, FromFile: page.FromFile}[next.From[f.name]],
		}
		if one.Source == "" {
			one.Source = page.FromDefault
		}
		if f.restart && fmt.Sprint(then.Field(f.index).Interface()) != fmt.Sprint(now.Field(f.index).Interface()) { // what is shown hides a password
			one.Value, one.Waiting = f.show(then.Field(f.index)), true
		}
		switch f.name {
		case "port":
			one.Value = p.service.WantedPort()
		case "icon-meter":
			one.Value = p.App.State().Meter
		case "allow-origin":
			one.Value = p.origins.allowed()
		case "mute":
			one.Value = append([]string{}, p.App.State().Mute...)
		}
		if f.secret() {
			one.Secret, one.Value = true, !now.Field(f.index).IsZero()
		}
		out = append(out, one)
	}
	return out
}

// kept reads a value of the settings file into target. What can't be read is not used.
func (p *pageApp) kept(f field, wanted any, target reflect.Value) {
	raw, err := json.Marshal(wanted)
	if pairs, isMap := wanted.(map[string]any); isMap {
		list := []string{}
		for from, to := range pairs {
			list = append(list, fmt.Sprintf("%s=%v", from, to))
		}
		slices.Sort(list)
		raw, err = json.Marshal(list)
	}
	if err == nil {
		parseSetting(f, target, raw, false) //nolint:errcheck // see above
	}
}

// next is what the settings are after a restart.
func (p *pageApp) next(saved Saved) Settings {
	next := p.Settings
	next.From = map[string]Source{}
	for _, f := range fields() {
		from := p.Settings.From[f.name]
		next.From[f.name] = from
		if from == FromFlag || from == FromEnv {
			continue
		}
		target := reflect.ValueOf(&next).Elem().Field(f.index)
		if wanted, ok := saved[f.name]; ok {
			p.kept(f, wanted, target)
			next.From[f.name] = FromFile
		} else if from == FromFile {
			parseSetting(f, target, nil, true) //nolint:errcheck // defaults can be read
			next.From[f.name] = FromDefault
		}
	}
	return next
}

// labels are for flags whose names mean little to people who never type them.
var labels = map[string]string{
	"disable-migrate-refresh": "Leave an imported sign-in to the Codex CLI", "mute": "No notifications about", "icon-meter": "Meter in the icon",
	"history": "Days of history", "env": "Form of the log", "creds-store": "Where the sign-in is kept", "creds-path": "File of the sign-in",
	"api-key": "API keys that tools must bring", "allow-host": "Other host names", "allow-origin": "Web pages that may use the plan",
	"same-user": "Refuse other users of this machine", "model": "Default model", "model-alias": "Other names of models", "codex-home": "The Codex CLI's folder",
	"strict": "Refuse what the backend does not take", "listen": "Address to listen on", "upstream-websocket": "WebSocket to ChatGPT",
	"https-proxy": "Proxy of your network",
}

// label is a flag's name for people.
func label(name string) string {
	if text := labels[name]; text != "" {
		return text
	}
	text := strings.ReplaceAll(name, "-", " ")
	text = strings.NewReplacer("api", "API", "url", "URL", "creds", "credentials").Replace(text)
	return capital(text)
}

// help is a flag's help without the variable's name, which the page shows by itself.
func help(tag reflect.StructTag) string {
	return strings.TrimSuffix(strings.ReplaceAll(tag.Get("help"), " (${env}).", "."), " (${env})")
}

// startAtLogin is the one setting that no flag makes: the desktop keeps it.
const startAtLogin = "start-at-login"

// setStartAtLogin has the desktop start the program at login, or no longer.
func (p *pageApp) setStartAtLogin(value json.RawMessage, reset bool) (any, error) {
	entry, on := p.life.Login, false
	if entry == nil {
		return nil, errors.New("what starts this program is set elsewhere")
	}
	if err := json.Unmarshal(value, &on); err != nil && !reset {
		return nil, errors.New("start at login is on or off")
	}
	change := entry.Disable
	if on && !reset {
		change = entry.Enable
	}
	err := change()
	p.changed(false)
	return page.Saved{}, err
}

// set changes a setting, or brings it back to its default, and keeps that in the settings file.
func (p *pageApp) set(name string, value json.RawMessage, reset bool) (any, error) {
	if name == startAtLogin {
		return p.setStartAtLogin(value, reset)
	}
	for _, f := range fields() {
		if f.name == name {
			return p.setField(f, value, reset)
		}
	}
	return nil, fmt.Errorf("there is no setting %q", name)
}

func (p *pageApp) setField(f field, value json.RawMessage, reset bool) (any, error) {
	if from := p.Settings.From[f.name]; from == FromFlag || from == FromEnv {
		return nil, fmt.Errorf("%s is set by the %s, which wins. Change it there", label(f.name), from)
	}
	saved, _ := ReadSaved() //nolint:errcheck // then it can't be changed either
	changed := p.next(saved)
	if changed.Check() != nil { // the file is wrong already: it is mended one setting after the other
		changed = p.next(nil)
	}
	target := reflect.ValueOf(&changed).Elem().Field(f.index)
	keep, err := parseSetting(f, target, value, reset)
	if err != nil {
		return nil, err
	}
	if changed.From[f.name] = FromFile; reset {
		changed.From[f.name] = FromDefault
	}
	if err := changed.Check(); err != nil {
		return nil, inLabels(err)
	}
	if f.name == "port" {
		return p.movePort(int(changed.Port), reset)
	}
	err = p.change(func(s Saved) {
		if delete(s, f.name); !reset {
			s[f.name] = keep
		}
	})
	if err != nil {
		return nil, err
	}
	switch f.name {
	case "icon-meter":
		p.App.mu.Lock()
		p.meter = changed.IconMeter
		p.App.mu.Unlock()
	case "allow-origin":
		if err := p.keepOrigins(p.origins.replace(changed.AllowOrigin)); err != nil {
			return nil, err
		}
	case "mute":
		p.App.mu.Lock()
		p.App.mute = changed.Mute
		p.App.mu.Unlock()
	}
	p.changed(false)
	message := ""
	if f.restart {
		message = "Kept. It takes effect when Codex Proxy is started again."
	}
	return page.Saved{Message: message}, nil
}

// inLabels is an error that begins with a flag, in the page's words.
func inLabels(err error) error {
	flag, rest, ok := strings.Cut(err.Error(), " ")
	name, typed := strings.CutPrefix(flag, "--")
	if !ok || !typed {
		return err
	}
	return errors.New(label(strings.TrimSuffix(name, ":")) + ": " + rest)
}

// movePort has the proxy listen on another port; the page goes on there.
func (p *pageApp) movePort(port int, reset bool) (any, error) {
	start := func() error { return p.Start(port) }
	switch {
	case reset:
		start = p.UseUsualPort
	case port == 0:
		return nil, errors.New("tools need a port that stays: choose one from 1 to 65535")
	}
	before := p.service.Addr()
	kept := start()
	if now := p.service.Addr(); kept != nil && (now == before || now == "") {
		return nil, kept
	}
	root, err := p.pageRoot()
	if err != nil {
		return nil, err
	}
	out := page.Saved{Message: "The proxy listens on another port now. Tools must be pointed there.", Open: p.page.Move(root) + "#settings"}
	if kept != nil {
		out.Message = "The proxy listens on another port now, but not after a restart: " + kept.Error() + "."
	}
	return out, nil
}

// parseSetting reads the page's value into a field, and returns it as the settings file keeps it.
func parseSetting(f field, target reflect.Value, value json.RawMessage, reset bool) (any, error) {
	wrong := fmt.Errorf("%s can't be %s", label(f.name), value)
	if reset {
		target.SetZero()
		text := f.tag.Get("default")
		if text == "" {
			return nil, nil
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			return nil, err
		}
		value = quoted
	}
	switch {
	case target.Type() == durationType:
		var text string
		if json.Unmarshal(value, &text) != nil {
			return nil, wrong
		}
		d, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s is a time such as 30s or 10m, not %q", label(f.name), text)
		}
		target.SetInt(int64(d))
		return d.String(), nil
	case f.kind == "number":
		text := strings.Trim(string(value), `"`)
		var port Port
		if err := port.UnmarshalText([]byte(text)); err != nil {
			return nil, wrong
		}
		target.SetInt(int64(port))
		return int(port), nil
	case f.kind == "switch":
		var on bool
		if json.Unmarshal(value, &on) != nil && json.Unmarshal([]byte(strings.Trim(string(value), `"`)), &on) != nil {
			return nil, wrong
		}
		target.SetBool(on)
		return on, nil
	case target.Kind() == reflect.Map:
		var list []string
		if json.Unmarshal(value, &list) != nil {
			return nil, wrong
		}
		pairs, keep := map[string]string{}, map[string]any{}
		for _, pair := range list {
			from, to, ok := strings.Cut(pair, "=")
			if !ok {
				return nil, fmt.Errorf("%q must look like NAME=MODEL", pair)
			}
			pairs[strings.TrimSpace(from)], keep[strings.TrimSpace(from)] = strings.TrimSpace(to), strings.TrimSpace(to)
		}
		target.Set(reflect.ValueOf(pairs))
		return keep, nil
	case f.kind == "list":
		list := []string{}
		if json.Unmarshal(value, &list) != nil {
			return nil, wrong
		}
		target.Set(reflect.ValueOf(list))
		return list, nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return nil, wrong
	}
	text = strings.TrimSpace(text)
	if f.kind == "choice" && !slices.Contains(f.choices, text) {
		return nil, wrong
	}
	target.SetString(text)
	return text, nil
}
