package openai

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// Compact answers POST /v1/responses/compact: the backend does, for a conversation that it takes as an ordinary turn's. The
// Codex CLI's own goes up as it is.
func (h *Handler) Compact(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	if gjson.GetBytes(body, "model").Str == "" {
		return h.fail(w, &codex.Request{}, reply.Outcome{}, codex.Invalid("model", "model is missing. GET /v1/models lists those of your plan"))
	}
	native := &codex.Request{}
	if native.RecogniseNative(r.Header); native.Native {
		return h.forward(w, r, "/responses/compact", body, compacted)
	}
	t, err := h.parseResponses(r, body)
	if err == nil {
		body, err = h.Client.Compaction(t.req)
	}
	if err != nil {
		return h.fail(w, t.req, reply.Outcome{Model: t.req.Model}, err)
	}
	reply.Announce(w.Header(), t.req.Dropped, nil)
	out := h.forward(w, r, "/responses/compact", body, compacted)
	out.Dropped = t.req.Dropped
	return out
}

// compacted is the backend's answer with what it leaves out of the object that OpenAI has. How many tokens it took, only
// the backend could tell.
func compacted(answer []byte) []byte {
	set := func(name string, value any) {
		if out, err := sjson.SetBytes(answer, name, value); err == nil && !gjson.GetBytes(answer, name).Exists() {
			answer = out
		}
	}
	own := ownResponse("")
	set("id", own["id"])
	set("object", "response.compaction")
	set("created_at", own["created_at"])
	for i, item := range gjson.GetBytes(answer, "output").Array() {
		if item.Get("type").Str == "compaction" {
			set("output."+strconv.Itoa(i)+".id", strings.Replace(own["id"].(string), "resp_", "cmp_", 1))
		}
	}
	return answer
}

// Alpha answers the Codex CLI's other calls, under /v1/alpha and /v1/memories: its search, its history, its notes, and its
// summaries of earlier sessions. The backend does.
func (h *Handler) Alpha(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	if r.URL.Path == "/alpha/search" {
		if without, err := sjson.DeleteBytes(body, "prompt_cache_key"); err == nil {
			body = without // which the CLI sends, and the backend refuses there
		}
	}
	return h.forward(w, r, r.URL.Path, body, nil)
}

// forward passes a call on. The Codex CLI gets the answer as it came, others what finish makes of it.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, path string, body []byte, finish func([]byte) []byte) reply.Outcome {
	out := reply.Outcome{Model: gjson.GetBytes(body, "model").Str}
	req := &codex.Request{}
	req.RecogniseNative(r.Header)
	header, answer, err := h.Client.Forward(r.Context(), path, body, r.Header)
	if err != nil {
		return h.fail(w, req, out, err)
	}
	if finish != nil && !req.Native && rawjson.Valid(answer) {
		answer = finish(answer)
	}
	reply.Announce(w.Header(), codex.Dropped{}, header)
	w.Header().Set("Content-Type", header.Get("Content-Type"))
	w.Write(answer) //nolint:errcheck // the caller has gone
	return out
}
