package openai

import (
	"net/http"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Compact answers POST /v1/responses/compact: the backend does.
func (h *Handler) Compact(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	return h.forward(w, r, "/responses/compact", body)
}

// Alpha answers the Codex CLI's other calls, under /v1/alpha and /v1/memories: its search, its history, its notes, and its
// summaries of earlier sessions. The backend does.
func (h *Handler) Alpha(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	if r.URL.Path == "/alpha/search" {
		if without, err := sjson.DeleteBytes(body, "prompt_cache_key"); err == nil {
			body = without // which the CLI sends, and the backend refuses there
		}
	}
	return h.forward(w, r, r.URL.Path, body)
}

func (h *Handler) forward(w http.ResponseWriter, r *http.Request, path string, body []byte) reply.Outcome {
	out := reply.Outcome{Model: gjson.GetBytes(body, "model").Str}
	req := &codex.Request{}
	req.RecogniseNative(r.Header)
	header, answer, err := h.Client.Forward(r.Context(), path, body, r.Header)
	if err != nil {
		return h.fail(w, req, out, err)
	}
	reply.Announce(w.Header(), codex.Dropped{}, header)
	w.Header().Set("Content-Type", header.Get("Content-Type"))
	w.Write(answer) //nolint:errcheck // the caller has gone
	return out
}
