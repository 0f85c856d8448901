package openai

import (
	"net/http"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// errorBody is OpenAI's error object. Empty code and param are null there.
type errorBody struct {
	Error errorObject `json:"error"`
}

type errorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func errorJSON(e *codex.Error) []byte {
	return encode(errorBody{errorObject{e.Message, e.Type, optional(e.Param), optional(e.Code)}})
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// WriteError answers with an error in OpenAI's shape. Nothing must have been written before.
func WriteError(w http.ResponseWriter, e *codex.Error) { reply.WriteError(w, e, errorJSON(e)) }

// fail answers a request for which nothing has been sent yet.
func (h *Handler) fail(w http.ResponseWriter, r *codex.Request, out reply.Outcome, err error) reply.Outcome {
	if e := out.Fail(r, err); e != nil {
		writeFailure(w, r, e)
	}
	return out
}

// writeFailure answers with an error as the caller of r reads it.
func writeFailure(w http.ResponseWriter, r *codex.Request, e *codex.Error) {
	reply.Announce(w.Header(), r.Dropped, e.Header())
	if r.Native && e.Answer != nil {
		writeAnswer(w, e.Answer)
	} else {
		WriteError(w, e)
	}
}

// writeAnswer passes the backend's own error on, for the Codex CLI, which acts on it.
func writeAnswer(w http.ResponseWriter, a *codex.Answer) {
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := a.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(a.Status)
	w.Write(a.Body) //nolint:errcheck // the caller has gone
}

func encode(v any) []byte { return reply.Encode(v) }

// writeObject answers with JSON. The error is that the caller has gone.
func writeObject(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(encode(v))
	return err
}
