package fakebackend

import (
	"net/http"
	"time"

	"github.com/tidwall/gjson"
)

func (b *Backend) models(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	if r.URL.Query().Get("client_version") == "" {
		writeJSON(w, 400, map[string]any{"detail": "client_version is required"})
		return
	}
	const etag = `W/"demo-1"`
	w.Header().Set("Etag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b.Models) //nolint:errcheck // gone
}

// compact answers with the conversation made shorter.
func (b *Backend) compact(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil || !b.authorize(w, r) {
		return
	}
	if err := b.checkCompaction(body); err != nil {
		writeJSON(w, 400, map[string]any{"detail": err.Error()})
		return
	}
	writeJSON(w, 200, map[string]any{"output": []any{map[string]any{"type": "compaction", "encrypted_content": "gAAAA" + random()}}})
}

// search refuses what the real one does: the cache key of the request that it belongs to.
func (b *Backend) search(w http.ResponseWriter, r *http.Request) {
	raw, err := b.record(r)
	if err != nil || !b.authorize(w, r) {
		return
	}
	if gjson.GetBytes(raw, "prompt_cache_key").Exists() {
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "unknown_parameter", "param": "prompt_cache_key", "message": "Unknown parameter: 'prompt_cache_key'."}})
		return
	}
	writeJSON(w, 200, map[string]any{"output": "one result"})
}

// remembered answers the calls of history and notes, which name the conversation that they are about.
func (b *Backend) remembered(w http.ResponseWriter, r *http.Request) {
	raw, err := b.record(r)
	if err != nil || !b.authorize(w, r) {
		return
	}
	if gjson.GetBytes(raw, "context.session_id").Str == "" {
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "missing_required_parameter", "param": "context", "message": "Missing required parameter: 'context'."}})
		return
	}
	writeJSON(w, 200, map[string]any{"items": []any{}})
}

// summarize answers with what is worth remembering of earlier sessions.
// Source: codex-rs/codex-api/src/endpoint/memories.rs.
func (b *Backend) summarize(w http.ResponseWriter, r *http.Request) {
	raw, err := b.record(r)
	if err != nil || !b.authorize(w, r) {
		return
	}
	if _, ok := b.model(gjson.GetBytes(raw, "model").Str); !ok || !gjson.GetBytes(raw, "traces").IsArray() {
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "missing_required_parameter", "param": "traces", "message": "Missing required parameter: 'traces'."}})
		return
	}
	output := []any{}
	for range gjson.GetBytes(raw, "traces").Array() {
		output = append(output, map[string]any{"trace_summary": "what was done", "memory_summary": "what was learned"})
	}
	writeJSON(w, 200, map[string]any{"output": output})
}

// resetCredits tells of limits that the user may reset early.
func (b *Backend) resetCredits(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	writeJSON(w, 200, map[string]any{"credits": []any{}, "available_count": 0})
}

func (b *Backend) usage(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	now := time.Now()
	window := func(percent float64, length, left time.Duration) map[string]any {
		return map[string]any{"used_percent": percent, "limit_window_seconds": int(length.Seconds()),
			"reset_after_seconds": int(left.Seconds()), "reset_at": now.Add(left).Unix()}
	}
	writeJSON(w, 200, map[string]any{
		"plan_type": Plan, "email": Email, "account_id": AccountID,
		"rate_limit": map[string]any{"allowed": true, "limit_reached": false,
			"primary_window": window(b.usedPercent(), 5*time.Hour, 2*time.Hour), "secondary_window": window(61, 7*24*time.Hour, 3*24*time.Hour)},
		"credits": map[string]any{"has_credits": false, "unlimited": false, "balance": "0"},
	})
}

func (b *Backend) accounts(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	if b.Accounts != nil {
		w.Header().Set("Content-Type", "application/json")
		w.Write(b.Accounts) //nolint:errcheck // gone
		return
	}
	account := func(id, name, structure string) map[string]any {
		return map[string]any{"id": id, "plan_type": Plan, "name": name, "structure": structure, "can_access_with_session": true,
			"workspace_backend_origin": "NO_CONSTRAINT", "account_routing_override": "NO_CONSTRAINT"}
	}
	writeJSON(w, 200, map[string]any{
		"accounts":         []any{account(AccountID, "Personal", "personal"), account(SecondAccountID, "Team", "workspace")},
		"account_ordering": []string{AccountID, SecondAccountID}, "default_account_id": AccountID,
	})
}
