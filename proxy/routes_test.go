package proxy

import (
	"net/http"
	"strings"
	"testing"
)

func TestEachAddressAnswersUnderAllItsNames(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/models": "/models", "/models": "/models", "/v1/v1/models/": "/models", "//v1//models": "/models", "/v1": "/", "": "/", "/": "/",
		"/v10/models": "/v10/models", "/v1models": "/v1models", "/v1/../models": "/models", "/../../etc": "/etc", "/v1/responses/resp_1/": "/responses/resp_1",
	} {
		if got := normalise(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}

func TestRoutesAndMethods(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow, says  string
	}{
		{"GET", "/", 200, "", "is running"},
		{"HEAD", "/", 200, "", ""},
		{"GET", "/v1/models", 200, "", "gpt-5.5"},
		{"HEAD", "/v1/models", 200, "", ""},
		{"GET", "/v1/models/gpt-5.5", 200, "", "gpt-5.5"},
		{"GET", "/v1/models/openai/gpt-5.5", 200, "", "gpt-5.5"},
		{"GET", "/v1/models/none", 404, "", "model_not_found"},
		{"POST", "/v1/models", 405, "GET, HEAD", "method_not_allowed"},
		{"GET", "/v1/chat/completions", 405, "POST", "method_not_allowed"},
		{"PUT", "/v1/responses", 405, "GET, HEAD, POST", "method_not_allowed"},
		{"GET", "/v1/responses", 405, "POST", "method_not_allowed"},
		{"DELETE", "/v1/messages", 405, "POST", "invalid_request_error"},
		{"GET", "/api/chat", 405, "POST", `{"error":`},
		{"POST", "/api/pull", 501, "", "not available"},
		{"GET", "/api/version", 200, "", "version"},
		{"POST", "/v1/embeddings", 404, "", "There are no embeddings"},
		{"POST", "/v1/nothing", 404, "", "unknown_url"},
		{"POST", "/v1/messages/batches", 404, "", "There are no batches"},
		{"POST", "/v1/images/variations", 404, "", "/v1/images/edits"},
		{"POST", "/v1/realtime/client_secrets", 404, "", "There is no audio"},
		{"GET", "/v1/vector_stores", 404, "", "There are no stored files"},
		{"POST", "/upload/v1beta/files", 404, "", `"status":"NOT_FOUND"`},
		{"POST", "/upload/v1beta/files", 404, "", "inlineData"},
		{"GET", "/v1/responses/resp_x", 404, "", "response_not_found"},
		{"DELETE", "/v1/responses/resp_x", 404, "", "response_not_found"},
		{"GET", "/v1/responses/resp_x/input_items", 404, "", "response_not_found"},
		{"POST", "/v1/responses/resp_x/cancel", 404, "", "response_not_found"},
		{"POST", "/health", 405, "GET, HEAD", "method_not_allowed"},
		{"GET", "/metrics", 200, "", "codex_proxy_sign_in_usable"},
		{"GET", "/admin/status", 404, "", "unknown_url"},
		{"GET", "/api/codex/usage", 200, "", "rate_limit"},
		{"GET", "/backend-api/wham/usage", 200, "", "rate_limit"},
	} {
		status, h, text, _ := r.do(c.method, c.path, "")
		if status != c.status || h.Get("Allow") != c.allow || !strings.Contains(text, c.says) {
			t.Errorf("%s %s: %d, Allow %q, %s", c.method, c.path, status, h.Get("Allow"), text)
		}
		if status >= 400 && c.method != "HEAD" && !strings.HasPrefix(text, "{") {
			t.Errorf("%s %s: an error that is not JSON: %s", c.method, c.path, text)
		}
	}
}

func TestAStoredAnswerCanBeReadAndDeleted(t *testing.T) {
	r := newRig(t)
	_, first, _ := r.ask("responses", "hello", false)
	id := get(first, "id").Str
	if status, _, text, _ := r.do(http.MethodGet, "/v1/responses/"+id, ""); status != 200 || get(text, "id").Str != id {
		t.Errorf("%d %s", status, text)
	}
	if status, _, text, _ := r.do(http.MethodGet, "/v1/responses/"+id+"?stream=true", ""); status != 400 || get(text, "error.param").Str != "stream" {
		t.Error("a stream of an answer that is over: ", status, text)
	}
	if status, _, text, _ := r.do(http.MethodGet, "/v1/responses/"+id+"/input_items", ""); status != 200 || !strings.Contains(text, "hello") {
		t.Errorf("%d %s", status, text)
	}
	if status, _, text, _ := r.do(http.MethodPost, "/v1/responses/"+id+"/cancel", ""); status != 400 || !strings.Contains(text, "is over") {
		t.Errorf("%d %s", status, text)
	}
	if status, _, text, _ := r.do(http.MethodDelete, "/v1/responses/"+id, ""); status != 200 || !get(text, "deleted").Bool() {
		t.Errorf("%d %s", status, text)
	}
	if status, _, _, _ := r.do(http.MethodGet, "/v1/responses/"+id, ""); status != 404 {
		t.Errorf("after it was deleted: %d", status)
	}
}

func TestTheAdminAPIAsksForItsOwnKey(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Admin = &Admin{Key: "admin", Manager: c.SignIn.(*signIn)}
		c.Guard.Keys, c.Guard.KeyRequired = KeyList{"key"}, func() bool { return true }
	})
	for _, c := range []struct {
		method, path, key, body string
		want                    int
	}{
		{"GET", "/admin/credentials/status", "admin", "", 200},
		{"GET", "/admin/credentials/status", "key", "", 401},
		{"GET", "/admin/status", "admin", "", 200},
		{"DELETE", "/admin/credentials", "admin", "", 200},
		{"POST", "/admin/credentials/refresh", "admin", "", 200},
		{"POST", "/admin/credentials", "admin", `{"accessToken":"a.e30.c","refreshToken":"r","expiresAt":1795463816000}`, 200},
		{"POST", "/admin/credentials", "admin", `{"accessToken":"a.e30.c","refreshToken":"r","expiresAt":1795463816}`, 400},
		{"POST", "/admin/credentials", "admin", `{"accessToken":5}`, 400},
		{"POST", "/admin/credentials", "", `{}`, 401},
	} {
		status, h, text, _ := r.do(c.method, c.path, c.body, "X-Api-Key", c.key)
		if status != c.want || (status < 400 && h.Get("Cache-Control") != "no-store") {
			t.Errorf("%s %s with %q: %d %s", c.method, c.path, c.key, status, text)
		}
	}
	none := newRig(t, func(c *Config) { c.Admin = &Admin{KeyMissing: "Set one", Manager: c.SignIn.(*signIn)} })
	if status, _, text, _ := none.do("GET", "/admin/status", "", "X-Api-Key", ""); status != 503 || !strings.Contains(text, "Set one") {
		t.Errorf("while there is no key: %d %s", status, text)
	}
}
