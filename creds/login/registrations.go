//go:build !js

package login

import (
	"encoding/json"
	"slices"

	"codex-proxy/internal/atomicfile"
)

// Registration is this program as the auth server knows it for one account on this machine. It outlives a sign-out.
// Source: developers.openai.com/siwc/token-sharing-open-source.
type Registration struct {
	ClientID string `json:"client_id"` // as issued
	HostID   string `json:"host_id"`   // urn:uuid:…, that it was issued for
	Subject  string `json:"subject"`   // the account
}

// Registrations is a file with one registration for each account, the last used first. Safe for concurrent use; the
// nil value keeps nothing.
type Registrations struct {
	Path string
}

const registrationsMost = 64 << 10 // bytes

// All returns what was kept. A file that is missing or damaged holds none.
func (r *Registrations) All() []Registration {
	var list []Registration
	if r != nil {
		if raw, _, err := atomicfile.Read(r.Path, registrationsMost); err == nil {
			json.Unmarshal(raw, &list) //nolint:errcheck // see above
		}
	}
	return list
}

// last is the registration that was used last.
func (r *Registrations) last() (Registration, bool) {
	for _, known := range r.All() {
		if known.ClientID != "" && known.ClientID != siwcNewApp && known.HostID != "" {
			return known, true
		}
	}
	return Registration{}, false
}

// keep remembers a registration. When that fails the next sign-in registers anew, which is no harm.
func (r *Registrations) keep(used Registration) {
	if r == nil {
		return
	}
	list := slices.DeleteFunc(r.All(), func(known Registration) bool { return known.Subject == used.Subject })
	raw, err := json.MarshalIndent(append([]Registration{used}, list...), "", "  ")
	if err == nil {
		atomicfile.Write(r.Path, raw) //nolint:errcheck // see above
	}
}
