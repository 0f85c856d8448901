package proxy

import (
	"encoding/json"
	"net/http"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// health is the answer of GET /health for those who may use the proxy. It holds no secrets and no address of a person.
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

// health says whether requests can be served: 200 when they can, 503 when not. It asks for no key, but who does not bring
// one where one is wanted hears no more than that.
func (s *Server) health(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
	s.begin(&w.(*exchange).start)
	if _, e := s.cfg.Guard.Authorize(r); e != nil {
		s.alive(w)
	} else {
		s.fullHealth(w)
	}
	return out
}

func (s *Server) fullHealth(w http.ResponseWriter) {
	h := s.healthNow(s.cfg.SignIn.State())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !h.Credentials.Usable {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(h) //nolint:errcheck // the caller has gone
}

// healthNow is how the proxy is with a sign-in in this state.
func (s *Server) healthNow(state creds.State) health {
	h := health{
		Status: "ok", Version: s.cfg.Version, UptimeSeconds: int64(time.Since(s.started).Seconds()), Demo: s.cfg.Demo,
		Credentials: credentialsHealth{
			State: state.Status, Usable: state.Usable, Plan: state.Plan, ExpiresAt: optionalTime(state.ExpiresAt),
			LastRefresh: optionalTime(state.LastRefresh), Ownership: state.Ownership, NextAttempt: optionalTime(state.NextAttempt),
			Problem: state.Problem,
		},
		Dropped: s.dropped.snapshot(),
	}
	if !state.Usable {
		h.Status = "unavailable"
	}
	if u := s.Client.UsageTracker.Current(); !u.UpdatedAt.IsZero() {
		h.Usage = &u
	}
	if !state.ExpiresAt.IsZero() {
		left := int64(time.Until(state.ExpiresAt).Seconds())
		h.Credentials.ExpiresInSeconds = &left
	}
	return h
}

// alive is the answer of /health where everybody can ask: nothing private.
func (s *Server) alive(w http.ResponseWriter) {
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
