package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
)

// withChatGPT is a rig that is signed in by "Sign in with ChatGPT".
func withChatGPT(t testing.TB, change ...func(*Config)) *rig {
	r := newRig(t, change...)
	r.switchTo(creds.KindChatGPT)
	return r
}

// switchTo replaces the sign-in by a new one of that kind.
func (r *rig) switchTo(kind creds.Kind) {
	token := creds.Token{Kind: kind}
	if kind == creds.KindChatGPT {
		tokens, _ := r.backend.SignInWithChatGPT(time.Hour)
		token.Access = tokens.Access
	} else {
		token.Access, token.AccountID = r.backend.SignIn(time.Hour).Access, fakebackend.AccountID
	}
	r.signIn.mu.Lock()
	defer r.signIn.mu.Unlock()
	r.signIn.token, r.signIn.state.Kind = token, kind
}

// sentUp is the body of the last request that went to the public API.
func (r *rig) sentUp() gjson.Result {
	r.t.Helper()
	sent := r.backend.Requests("/responses")
	if len(sent) == 0 {
		r.t.Fatal("nothing was sent")
	}
	return gjson.ParseBytes(sent[len(sent)-1].Body)
}

const citySchema = `{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`

// toolTurns are, for each dialect, a request that calls a tool and where the answer names it.
var toolTurns = map[string]struct {
	path, body string
	name       string // path of the call's name in the answer
	choice     string // added to have the tool called by name
}{
	"responses": {"/v1/responses", `{"input":"SAY","tools":[{"type":"function","name":"get_weather","parameters":` + citySchema + `},{"type":"function","name":"other","parameters":{"type":"object"}}]CHOICE}`,
		`output.#(type=="function_call").name`, `,"tool_choice":{"type":"function","name":"get_weather"}`},
	"responses, custom": {"/v1/responses", `{"input":"SAY","tools":[{"type":"custom","name":"get_weather"},{"type":"function","name":"other","parameters":{"type":"object"}}]CHOICE}`,
		`output.#(type=="custom_tool_call").name`, `,"tool_choice":{"type":"custom","name":"get_weather"}`},
	"chat": {"/v1/chat/completions", `{"messages":[{"role":"user","content":"SAY"}],"tools":[{"type":"function","function":{"name":"get_weather","parameters":` + citySchema + `}},{"type":"function","function":{"name":"other"}}]CHOICE}`,
		"choices.0.message.tool_calls.0.function.name", `,"tool_choice":{"type":"function","function":{"name":"get_weather"}}`},
	"messages": {"/v1/messages", `{"max_tokens":100,"messages":[{"role":"user","content":"SAY"}],"tools":[{"name":"get_weather","input_schema":` + citySchema + `},{"name":"other","input_schema":{"type":"object"}}]CHOICE}`,
		`content.#(type=="tool_use").name`, `,"tool_choice":{"type":"tool","name":"get_weather"}`},
	"ollama": {"/api/chat", `{"stream":false,"messages":[{"role":"user","content":"SAY"}],"tools":[{"type":"function","function":{"name":"get_weather","parameters":` + citySchema + `}}]}`,
		"message.tool_calls.0.function.name", ""},
	"gemini": {"/v1beta/models/gpt-5.5:generateContent", `{"contents":[{"parts":[{"text":"SAY"}]}],"tools":[{"functionDeclarations":[{"name":"get_weather","parametersJsonSchema":` + citySchema + `},{"name":"other"}]}]CHOICE}`,
		`candidates.0.content.parts.#(functionCall).functionCall.name`, `,"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["get_weather"]}}`},
}

func TestToolsKeepTheirNamesWithASignInWithChatGPT(t *testing.T) {
	for dialect, turn := range toolTurns {
		t.Run(dialect, func(t *testing.T) {
			r := withChatGPT(t)
			for say, choice := range map[string]string{"call get_weather": "", "hello": turn.choice} {
				if say == "hello" && choice == "" {
					continue
				}
				status, answer := r.post(turn.path, strings.NewReplacer("SAY", say, "CHOICE", choice).Replace(turn.body))
				if got := get(answer, turn.name); status != 200 || got.Str != "get_weather" || strings.Contains(answer, "namespace") {
					t.Errorf("%q: %d, the call is of %q: %s", say, status, got.Str, answer)
				}
				up := r.sentUp()
				if item := up.Get("input.0"); item.Get("type").Str != "additional_tools" || item.Get("role").Str != "developer" || item.Get("tools.0.name").Str != "get_weather" || up.Get("tools").Exists() {
					t.Errorf("%q: sent up: %s", say, up)
				}
			}
		})
	}
}

func TestToolsKeepTheirNamesInStreams(t *testing.T) {
	r := withChatGPT(t)
	for dialect, turn := range toolTurns {
		body := strings.NewReplacer(`"stream":false,`, "", "SAY", "call get_weather", "CHOICE", `,"stream":true`).Replace(turn.body)
		status, answer := r.post(turn.path, body)
		if status != 200 || !strings.Contains(answer, `"name":"get_weather"`) || strings.Contains(answer, `"namespace"`) {
			t.Errorf("%s: %d %s", dialect, status, answer)
		}
	}
	ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(r.url, "http")+"/v1/responses", &websocket.DialOptions{HTTPHeader: http.Header{"Openai-Beta": {"responses_websockets=2026-02-06"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow() //nolint:errcheck // it is over
	body := strings.NewReplacer("SAY", "call get_weather", "CHOICE", `,"type":"response.create"`).Replace(toolTurns["responses"].body)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(body)); err != nil {
		t.Fatal(err)
	}
	for called := false; ; {
		_, message, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		called = called || gjson.GetBytes(message, "item.name").Str == "get_weather" && !gjson.GetBytes(message, "item.namespace").Exists()
		if kind := gjson.GetBytes(message, "type").Str; kind == "response.completed" {
			if !called {
				t.Error("no call by WebSocket")
			}
			return
		} else if kind == "error" {
			t.Fatalf("%s", message)
		}
	}
}

const earlierCall = `{"type":"function_call","call_id":"c1","name":"get_weather","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"sunny"}`

func TestEarlierCallsGoUpAsTheyCame(t *testing.T) {
	r := withChatGPT(t)
	own := `{"type":"namespace","name":"tools","description":"mine","tools":[{"type":"function","name":"inside","parameters":{"type":"object"}}]}`
	for what, tools := range map[string]string{
		"without tools": "", "with tools": `,"tools":[{"type":"function","name":"get_weather","parameters":{"type":"object"}}]`, "with a group of that name": `,"tools":[` + own + `]`,
	} {
		status, answer := r.post("/v1/responses", `{"input":[{"role":"user","content":"hi"},`+earlierCall+`]`+tools+`}`)
		if status != 200 || !strings.Contains(answer, "sunny") {
			t.Errorf("%s: %d %s", what, status, answer)
		}
		up := r.sentUp()
		if strings.Contains(up.Get("input").Raw, "namespace") {
			t.Errorf("%s: sent up: %s", what, up.Get("input"))
		}
		if first := up.Get("input.0.type").Str; tools == "" && first == "additional_tools" {
			t.Errorf("%s: sent up: %s", what, up)
		}
		if strings.Contains(what, "group") && up.Get("tools").Raw != "["+own+"]" {
			t.Errorf("%s: the caller's group went up as %s", what, up.Get("tools"))
		}
	}
}

func TestACallersOwnGroupKeepsItsNameBothWays(t *testing.T) {
	r := withChatGPT(t)
	status, answer := r.post("/v1/responses", `{"input":"call inside","tools":[{"type":"namespace","name":"tools","description":"mine","tools":[{"type":"function","name":"inside","parameters":{"type":"object"}}]},
		{"type":"function","name":"outside","parameters":{"type":"object"}}]}`)
	if call := get(answer, `output.#(type=="function_call")`); status != 200 || call.Get("name").Str != "inside" || call.Get("namespace").Str != "tools" {
		t.Errorf("%d %s", status, answer)
	}
}

func TestAToolThatIsNotThereIsLeftOutOrRefused(t *testing.T) {
	function := `{"type":"function","name":"get_weather","parameters":{"type":"object"}}`
	for _, c := range []struct {
		what, body string
		native     bool
		status     int
		dropped    string
	}{
		{"tool_search", `"tools":[` + function + `,{"type":"tool_search","execution":"client"}]`, false, 200, "tools.tool_search"},
		{"tool_search alone", `"tools":[{"type":"tool_search"}]`, false, 200, "tools.tool_search"},
		{"tool_search and a tool that it would load", `"tools":[{"type":"function","name":"get_weather","defer_loading":true,"parameters":{"type":"object"}},{"type":"tool_search"}]`, false, 200, "tools.tool_search"},
		{"tool_search that must be called", `"tools":[` + function + `,{"type":"tool_search"}],"tool_choice":{"type":"tool_search"}`, false, 400, ""},
		{"pictures", `"tools":[{"type":"image_generation"}]`, false, 400, ""},
		{"pictures, from the Codex CLI", `"tools":[` + function + `,{"type":"image_generation"}]`, true, 200, "tools.image_generation"},
		{"a shell", `"tools":[{"type":"local_shell"}]`, false, 400, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := withChatGPT(t)
			var header []string
			if c.native {
				header = []string{"Originator", "codex_exec"}
			}
			status, h, answer, _ := r.do(http.MethodPost, "/v1/responses", `{"model":"gpt-5.5","input":[{"role":"user","content":"call get_weather"}],`+c.body+`}`, header...)
			if status != c.status || h.Get("X-Codex-Proxy-Dropped") != c.dropped {
				t.Errorf("%d, told %q: %s", status, h.Get("X-Codex-Proxy-Dropped"), answer)
			}
			if status == 400 && !strings.Contains(answer, "the Codex way") {
				t.Errorf("it does not say what to do: %s", answer)
			}
			if status == 200 && strings.Contains(c.body, "get_weather") && get(answer, `output.#(type=="function_call").name`).Str != "get_weather" {
				t.Errorf("the other tool was not called: %s", answer)
			}
		})
	}
}

func TestToolsThatASearchHadLoadedStayUsable(t *testing.T) {
	r := withChatGPT(t)
	status, answer := r.post("/v1/responses", `{"input":[{"role":"user","content":"call get_weather"},{"type":"tool_search_call","call_id":"s1","execution":"client","arguments":{}},
		{"type":"tool_search_output","call_id":"s1","execution":"client","tools":[{"type":"function","name":"get_weather","defer_loading":true,"parameters":{"type":"object"}}]},
		{"role":"user","content":"now call get_weather"}],"tools":[{"type":"tool_search"}]}`)
	if status != 200 || get(answer, `output.#(type=="function_call").name`).Str != "get_weather" {
		t.Errorf("%d %s", status, answer)
	}
}

func TestTheCodexCLIsOwnShapeGoesUpAsItCame(t *testing.T) {
	r := withChatGPT(t)
	item := `{"type":"additional_tools","role":"developer","id":"at_1","tools":[{"type":"namespace","name":"functions","description":"d","tools":[{"type":"function","name":"wait","parameters":{"type":"object"}}]}]}`
	status, h, answer, _ := r.do(http.MethodPost, "/v1/responses", `{"model":"gpt-6.1-sol","input":[`+item+`,{"role":"user","content":"call wait"}],"client_metadata":{"turn_id":"t"},"reasoning":{"context":"all_turns"}}`,
		"Originator", "codex_exec", "X-Openai-Internal-Codex-Responses-Lite", "true", "X-Codex-Window-Id", "w")
	if call := get(answer, `output.#(type=="function_call")`); status != 200 || call.Get("name").Str != "wait" || call.Get("namespace").Str != "functions" {
		t.Errorf("%d %s", status, answer)
	}
	if up := r.sentUp(); up.Get("input.0").Raw != item || up.Get("client_metadata").Exists() || h.Get("X-Codex-Proxy-Dropped") != "client_metadata" {
		t.Errorf("told %q, sent up: %s", h.Get("X-Codex-Proxy-Dropped"), up)
	}
}

func TestBothKindsOfSignInAnswerTheSameRequests(t *testing.T) {
	r := newRig(t)
	for _, kind := range []creds.Kind{creds.KindChatGPT, creds.KindCodex, creds.KindChatGPT} {
		r.switchTo(kind)
		for dialect := range dialects {
			for _, stream := range []bool{false, true} {
				if status, answer, err := r.ask(dialect, "hello", stream); status != 200 || err != nil || !strings.Contains(answer, "hello") {
					t.Errorf("%s, %s, stream %t: %d %s", kind, dialect, stream, status, answer)
				}
			}
		}
	}
	if n := r.backend.Counts().Crossed; n > 0 {
		t.Errorf("%d requests went to the other service", n)
	}
}

// TestStrictRefusesNothingThatTheCodexCLIAlwaysSends: it can leave nothing of that out.
func TestStrictRefusesNothingThatTheCodexCLIAlwaysSends(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Strict = true })
	r.switchTo(creds.KindChatGPT)
	const body = `{"model":"gpt-5.5","instructions":"x","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hello"}]}],"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}},{"type":"tool_search","execution":"client"}],"reasoning":{"effort":"medium"},"store":false,"stream":true,"include":["reasoning.encrypted_content"],"client_metadata":{"x":"y"}}`
	status, h, text, _ := r.do(http.MethodPost, "/v1/responses", body, "Originator", "codex_exec")
	if status != 200 || h.Get("X-Codex-Proxy-Dropped") != "tools.tool_search, client_metadata" {
		t.Errorf("%d, told %q: %s", status, h.Get("X-Codex-Proxy-Dropped"), text)
	}
	if status, text := r.post("/v1/responses", body); status != 400 || !strings.Contains(text, "client_metadata") {
		t.Errorf("another caller's: %d %s", status, text)
	}
}

// TestAConversationGoesOnWithTheOtherKindOfSignIn also where dropping is refused: else it would never go on.
func TestAConversationGoesOnWithTheOtherKindOfSignIn(t *testing.T) {
	for _, to := range []creds.Kind{creds.KindChatGPT, creds.KindCodex} {
		for _, native := range []bool{false, true} {
			r := newRig(t, func(c *Config) { c.Strict = true })
			if to == creds.KindCodex {
				r.switchTo(creds.KindChatGPT)
			}
			var header []string
			if native {
				header = []string{"Originator", "codex_exec"}
			}
			tools := `,"tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{}}}],"include":["reasoning.encrypted_content"],"instructions":"x"}`
			_, first := r.post("/v1/responses", `{"model":"gpt-5.5","input":[{"role":"user","content":"call get_weather"}]`+tools, header...)
			before := strings.Trim(get(first, "output").Raw, "[]")
			r.switchTo(to)
			status, h, answer, _ := r.do(http.MethodPost, "/v1/responses", `{"model":"gpt-5.5","input":[{"role":"user","content":"call get_weather"},`+before+
				`,{"type":"function_call_output","call_id":"`+get(first, `output.#(type=="function_call").call_id`).Str+`","output":"sunny"}]`+tools, header...)
			if !strings.Contains(before, "encrypted_content") || status != 200 || !strings.Contains(answer, "sunny") || h.Get("X-Codex-Proxy-Dropped") != "input.reasoning" {
				t.Errorf("to %s, native %t: %d, told %q: %s", to, native, status, h.Get("X-Codex-Proxy-Dropped"), answer)
			}
		}
	}
}

// TestReasoningThatIsKeptHereIsNotInTheWayOfTheOtherKind, nor of the second of two answers where dropping is refused.
func TestReasoningThatIsKeptHereIsNotInTheWayOfTheOtherKind(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Strict = true })
	tools := `,"tools":[{"type":"function","function":{"name":"get_weather"}}]}`
	_, first := r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"call get_weather"}]`+tools)
	r.switchTo(creds.KindChatGPT)
	status, answer := r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"call get_weather"},`+get(first, "choices.0.message").Raw+
		`,{"role":"tool","tool_call_id":"`+get(first, "choices.0.message.tool_calls.0.id").Str+`","content":"sunny"}],"n":2`+tools)
	if status != 200 || !strings.Contains(get(answer, "choices.1").Raw, "sunny") {
		t.Errorf("%d %s", status, answer)
	}
}

// switching is a sign-in that the user replaces by one of the other kind in the moment in which the old one is refused.
type switching struct {
	*signIn
	once sync.Once
	next func()
}

func (s *switching) Rejected(ctx context.Context, _ creds.Token) (creds.Token, error) {
	s.once.Do(s.next)
	return s.Token(ctx)
}

func TestARequestIsSentAgainWhenTheSignInIsReplacedUnderIt(t *testing.T) {
	for _, to := range []creds.Kind{creds.KindChatGPT, creds.KindCodex} {
		for dialect, turn := range toolTurns {
			t.Run(fmt.Sprintf("%s, %s", to, dialect), func(t *testing.T) {
				s := &switching{}
				r := newRig(t, func(c *Config) {
					s.signIn = c.SignIn.(*signIn)
					c.SignIn = s
				})
				if to == creds.KindCodex {
					r.switchTo(creds.KindChatGPT)
				}
				r.backend.EndAccess()
				s.next = func() { r.switchTo(to) }
				status, answer := r.post(turn.path, strings.NewReplacer("SAY", "call get_weather", "CHOICE", "").Replace(turn.body))
				if status != 200 || get(answer, turn.name).Str != "get_weather" {
					t.Errorf("%d %s", status, answer)
				}
				if n := r.backend.Counts(); n.Crossed > 0 || n.Responses != 2 {
					t.Errorf("%+v", n)
				}
			})
		}
	}
}

func TestABodyForTheCodexBackendIsNeverForwardedToThePublicAPI(t *testing.T) {
	r := withChatGPT(t)
	status, answer := r.post("/v1/responses/compact", `{"model":"gpt-5.5","input":[{"role":"user","content":"hi"}]}`, "Originator", "codex_exec")
	if status != 404 || !strings.Contains(answer, "the Codex way") || len(r.backend.Requests("/compact")) > 0 {
		t.Errorf("%d %s", status, answer)
	}
	s := &switching{}
	r = newRig(t, func(c *Config) {
		s.signIn = c.SignIn.(*signIn)
		c.SignIn = s
	})
	r.backend.EndAccess()
	s.next = func() { r.switchTo(creds.KindChatGPT) }
	status, answer = r.post("/v1/responses/compact", `{"model":"gpt-5.5","input":[{"role":"user","content":"hi"}]}`, "Originator", "codex_exec")
	if status != 404 || len(r.backend.Requests("/v1/responses/compact")) > 0 {
		t.Errorf("after a switch: %d %s", status, answer)
	}
}

func TestErrorsOfASignInWithChatGPTSayWhatIsTrue(t *testing.T) {
	t.Parallel() // it waits for retries
	r := withChatGPT(t)
	for _, c := range []struct {
		say    string
		status int
		says   []string
		not    string
	}{
		{"[[sharing]]", 402, []string{"usage limit reached", "https://chatgpt.com/settings/usage"}, "Resets"},
		{"[[failed subscription_sharing_usage_limit_exceeded]]", 402, []string{"usage limit reached", "https://chatgpt.com/settings/usage"}, "Resets"},
		{"[[unavailable]]", 503, []string{"in a minute"}, ""},
		{"[[ineligible]]", 403, []string{"Plus and Pro", "the Codex way"}, ""},
		{"[[userunavailable]]", 503, []string{"in a few seconds"}, ""},
		{"[[userunavailableonce]]", 200, []string{"Second try."}, ""},
		{"[[invaliduser]]", 401, []string{"Sign in again"}, ""},
	} {
		status, answer, _ := r.ask("chat", c.say, false)
		if status != c.status {
			t.Errorf("%s: %d %s", c.say, status, answer)
		}
		for _, words := range c.says {
			if !strings.Contains(answer, words) {
				t.Errorf("%s: no %q in %s", c.say, words, answer)
			}
		}
		if c.not != "" && strings.Contains(answer, c.not) {
			t.Errorf("%s: %q in %s", c.say, c.not, answer)
		}
	}
	status, answer := r.post("/v1/chat/completions", `{"model":"gpt-1","messages":[{"role":"user","content":"hi"}]}`)
	if status != 404 || !strings.Contains(answer, "gpt-5.5") {
		t.Errorf("an unknown model: %d %s", status, answer)
	}
}

func TestASignInWithoutTheScopeSaysHowToAskAgain(t *testing.T) {
	r := withChatGPT(t)
	r.backend.Scope = "openid profile email"
	status, answer, _ := r.ask("chat", "hi", false)
	if status != 403 || !strings.Contains(answer, "leave to use your plan") {
		t.Errorf("%d %s", status, answer)
	}
}
