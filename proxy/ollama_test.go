package proxy

import "testing"

// TestOllamasTagIsNoPartOfTheName: its clients add :latest to a model's name, wherever they send it.
func TestOllamasTagIsNoPartOfTheName(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"gpt-5.5", "gpt-5.5:latest"} {
		for _, path := range []string{"/api/show", "/api/chat", "/api/generate"} {
			status, text := r.post(path, `{"model":"`+name+`","stream":false,"prompt":"hello","messages":[{"role":"user","content":"hello"}]}`)
			if status != 200 {
				t.Errorf("%s of %s: %d %s", path, name, status, text)
			}
		}
	}
	if status, text := r.post("/api/show", `{"model":"gpt-0:latest"}`); status != 404 {
		t.Errorf("a model that is not there: %d %s", status, text)
	}
}
