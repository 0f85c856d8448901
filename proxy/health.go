package proxy

import (
	"encoding/json"
	"net/http"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
)

// health is the answer of GET /health. It holds no secrets and no address of a person: it needs no key.
type health struct {
	Status        string                    `json:"status"` // "ok", or "unavailable" when requests can't be served
	Version       string                    `json:"version"`
	UptimeSeconds int64                     `json:"uptime_seconds"`
	Demo          bool                      `json:"demo,omitempty"`
	Credentials   credentialsHealth         `json:"credentials"`
	Usage         *codex.Usage              `json:"usage,omitempty"`
	Dropped       map[string]map[string]int `json:"dropped_parameters,omitempty"` // by client
}

type credentialsHealth struct {
	State            creds.Status    `json:"state"`
	Usable           bool            `json:"usable"`
	Plan             string          `json:"plan,omitempty"`
	ExpiresAt        *time.Time      `json:"expires_at"`
	ExpiresInSeconds *int64          `json:"expires_in_seconds"`
	LastRefresh      *time.Time      `json:"last_refresh,omitempty"`
	Ownership        creds.Ownership `json:"ownership,omitempty"`
	NextAttempt      *time.Time      `json:"next_attempt,omitempty"`
	Problem          string          `json:"problem,omitempty"`
}

// health says whether requests can be served: 200 when they can, 503 when not.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	state := s.cfg.SignIn.State()
	h := health{
		Status: "ok", Version: s.cfg.Version, UptimeSeconds: int64(time.Since(s.started).Seconds()), Demo: s.cfg.Demo,
		Credentials: credentialsHealth{
			State: state.Status, Usable: state.Usable, Plan: state.Plan, ExpiresAt: optionalTime(state.ExpiresAt),
			LastRefresh: optionalTime(state.LastRefresh), Ownership: state.Ownership, NextAttempt: optionalTime(state.NextAttempt),
			Problem: state.Problem,
		},
		Dropped: s.tally.snapshot(),
	}
	if u := s.Client.UsageTracker.Current(); !u.UpdatedAt.IsZero() {
		h.Usage = &u
	}
	if !state.ExpiresAt.IsZero() {
		left := int64(time.Until(state.ExpiresAt).Seconds())
		h.Credentials.ExpiresInSeconds = &left
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !isRead(r) {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !state.Usable {
		h.Status = "unavailable"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(h) //nolint:errcheck // the caller has gone
}

// alive is the answer of /health where everybody can ask: nothing private.
func (s *Server) alive(w http.ResponseWriter, _ *http.Request) {
	status, code := "ok", http.StatusOK
	if !s.cfg.SignIn.State().Usable {
		status, code = "unavailable", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"status": status, "version": s.cfg.Version}) //nolint:errcheck // the caller has gone
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
