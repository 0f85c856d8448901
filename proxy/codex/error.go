package codex

import (
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/rawjson"
)

// Error is what every failure becomes, whoever it came from: each dialect writes it in its own words' shape.
type Error struct {
	Status     int    // HTTP status for the caller
	Type       string // OpenAI's error type, such as invalid_request_error
	Code       string // what programs act on, such as context_length_exceeded; may be empty
	Message    string // a sentence for people that ends in what to do, where something can be done
	Param      string // the parameter at fault, or empty
	RetryAfter time.Duration

	// Answer is the backend's own answer, for callers that speak its language; nil when the backend did not answer.
	Answer *Answer
	// Resent says that the caller's SDK, when it is told this, sends the request again in another way: nobody feels it.
	Resent bool
	// Stack is where the proxy itself failed, for the log only; nil for every other error.
	Stack []byte
}

// Answer is a backend's answer that is an error.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (e *Error) Error() string { return e.Message }

// Header is the header of the backend's answer; nil without one.
func (e *Error) Header() http.Header {
	if e.Answer == nil {
		return nil
	}
	return e.Answer.Header
}

// The types of errors that OpenAI's clients know.
const (
	typeInvalid    = "invalid_request_error"
	typeAuth       = "authentication_error"
	typePermission = "permission_error"
	typeQuota      = "usage_limit_reached"
	typeRate       = "rate_limit_error"
	typeServer     = "server_error"
)

// Invalid returns the error for a request that can't be carried out as it is. param may be empty.
func Invalid(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: typeInvalid, Code: "invalid_value", Param: param, Message: fmt.Sprintf(format, args...)}
}

// SignIn returns the error for a request that came while nobody is signed in. wait is zero unless waiting helps.
func SignIn(message string, wait time.Duration) *Error {
	if wait > 0 {
		return &Error{Status: http.StatusServiceUnavailable, Type: typeServer, Code: "sign_in_unavailable", Message: message, RetryAfter: wait}
	}
	return &Error{Status: http.StatusUnauthorized, Type: typeAuth, Code: "sign_in_required", Message: message}
}

// Broken is an answer that ended before it was whole.
func Broken() *Error {
	return &Error{Status: http.StatusBadGateway, Type: typeServer, Code: "upstream_disconnected", Message: "The connection to ChatGPT broke before the answer was whole. Send the request again"}
}

// Crashed is the error of a request on which this program panicked. It must be called by the function that recovers.
func Crashed(cause any) *Error {
	return &Error{Status: http.StatusInternalServerError, Type: typeServer, Code: "internal_error", Stack: fmt.Appendf(nil, "%T\n%s", cause, debug.Stack()),
		Message: "The proxy failed on this request. It is a bug: please report it with the line from the log"}
}

// Silent is a backend that said nothing for too long.
func Silent(after time.Duration, advice Advice) *Error {
	return &Error{Status: http.StatusGatewayTimeout, Type: typeServer, Code: "upstream_idle", Message: fmt.Sprintf("ChatGPT sent nothing for %s. %s", after, advice.For(RemedyIdleTimeout))}
}

// Stopped is an answer that was cut because the proxy is stopping.
func Stopped() *Error {
	return &Error{Status: http.StatusServiceUnavailable, Type: typeServer, Code: "proxy_stopping", Message: "The proxy was stopped before the answer was whole. Start it and send the request again"}
}

// Unreachable is a backend to which no request could be sent.
func Unreachable(err error, advice Advice) *Error {
	return &Error{Status: http.StatusBadGateway, Type: typeServer, Code: "upstream_unreachable", Message: "ChatGPT could not be reached (" + TransportReason(err) + "). " + advice.For(RemedyNetwork)}
}

// TransportReason is the end of a transport error's chain, without the request's address.
func TransportReason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, `": `); i >= 0 {
		text = text[i+3:]
	}
	return text
}

// codeMeanings says what a code of the backend means to a caller: HTTP status and OpenAI's type.
// Source: codex-rs/codex-api/src/api_bridge.rs and the reactions measured on Codex CLI 0.169.
var codeMeanings = map[string]struct {
	status int
	typ    string
}{
	"context_length_exceeded":       {http.StatusBadRequest, typeInvalid},
	"invalid_prompt":                {http.StatusBadRequest, typeInvalid},
	"cyber_policy":                  {http.StatusBadRequest, typeInvalid},
	"bio_policy":                    {http.StatusBadRequest, typeInvalid},
	"misalignment_policy_violation": {http.StatusBadRequest, typeInvalid},
	"content_policy_violation":      {http.StatusBadRequest, typeInvalid},
	"rate_limit_exceeded":           {http.StatusTooManyRequests, typeRate},
	"slow_down":                     {http.StatusTooManyRequests, typeRate},
	"server_is_overloaded":          {http.StatusServiceUnavailable, typeServer},
	"server_error":                  {http.StatusBadGateway, typeServer},
	"usage_limit_reached":           {http.StatusPaymentRequired, typeQuota},
	"insufficient_quota":            {http.StatusPaymentRequired, typeQuota},
	"usage_not_included":            {http.StatusPaymentRequired, typePermission},

	// Of "Sign in with ChatGPT". Source: developers.openai.com/siwc/errors-and-recovery.
	"subscription_sharing_usage_limit_exceeded":   {http.StatusPaymentRequired, typeQuota},
	"subscription_sharing_user_not_eligible":      {http.StatusForbidden, typePermission},
	"subscription_sharing_route_not_supported":    {http.StatusForbidden, typePermission},
	"subscription_sharing_unsupported_capability": {http.StatusBadRequest, typeInvalid},
	"subscription_sharing_usage_unavailable":      {http.StatusServiceUnavailable, typeServer},
	"subscription_sharing_user_unavailable":       {http.StatusServiceUnavailable, typeServer},
	"subscription_sharing_invalid_user":           {http.StatusUnauthorized, typeAuth},
	"chatpass_v2_scope_not_authorized":            {http.StatusForbidden, typePermission},
	"chatpass_v2_invalid_authorization_context":   {http.StatusForbidden, typePermission},
}

// fromAnswer reads an HTTP error of the backend. Its body comes as {"detail":"…"}, {"error":{…}} or as a web page.
func fromAnswer(a *Answer, now time.Time, advice Advice) *Error {
	if a.Status < http.StatusBadRequest { // neither an answer nor an error: never the caller's status
		return &Error{Status: http.StatusBadGateway, Type: typeServer, Code: "upstream_unexpected",
			Message: "ChatGPT answered with status " + strconv.Itoa(a.Status) + ", which is no answer to this request. Send it again in a moment"}
	}
	detail, object := gjson.GetBytes(a.Body, "detail"), gjson.GetBytes(a.Body, "error")
	if !rawjson.Valid(a.Body) || (!detail.Exists() && !object.Exists() && !gjson.GetBytes(a.Body, "message").Exists()) {
		return fromPage(a, advice)
	}
	e := &Error{Status: a.Status, Type: typeFor(a.Status), Answer: a, RetryAfter: retryAfter(a.Header, now)}
	if detail.Exists() {
		e.Message = text(detail)
		e.Code = detail.Get("code").String()
	} else {
		e.Message, e.Code, e.Param = object.Get("message").String(), object.Get("code").String(), object.Get("param").String()
		if object.Type == gjson.String {
			e.Message = object.Str
		}
		if kind := object.Get("type").String(); e.Code == "" {
			e.Code = kind
		} else if _, known := codeMeanings[kind]; known {
			e.Code = kind
		}
	}
	if e.Message == "" {
		e.Message = "ChatGPT answered " + strconv.Itoa(a.Status) + " without saying why"
	}
	e.explain(object, now, advice)
	switch {
	case a.Status == http.StatusUnauthorized:
		e.Code, e.Type = "sign_in_required", typeAuth
		e.Message = "ChatGPT refused the sign-in (" + e.Message + "). " + advice.For(RemedySignIn)
	case e.Code == "" && unknownModel().MatchString(e.Message):
		e.Code = codeUnknownModel
	case a.Status > 511:
		e.Status = http.StatusBadGateway // a CDN's private numbers
	}
	return e
}

const codeUnknownModel = "model_not_found"

// unknownModel is how the backend says that it does not have a model for this account.
// Source: public reports of {"detail":"The 'gpt-5' model is not supported when using Codex with a ChatGPT account."}.
var unknownModel = compiled(`^The '[^']*' model is not supported\b|^The model '[^']*' does not exist\b`)

// sealed is how a service says that it can't read what another one, or the same for another account, has encrypted.
var sealed = compiled(`(?i)encrypted content.* could not be (verified|decrypted)`)

// compiled compiles a pattern when it is used first: a Worker pays for what is done at its start.
func compiled(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// unreadable reports that the conversation holds what the service can't decrypt.
func (e *Error) unreadable() bool {
	return e.Status == http.StatusBadRequest && (e.Code == "invalid_encrypted_content" || sealed().MatchString(e.Message))
}

// nameModels makes of the backend's word that a model is not there a 404 that says which are, and who chose it where the
// caller, who asked for another or for none, did not.
func (e *Error) nameModels(asked, model string, models *Catalogue) {
	if e.Code != codeUnknownModel {
		return
	}
	var names []string
	for _, m := range models.All() {
		names = append(names, m.ID)
	}
	e.Status, e.Type, e.Param = http.StatusNotFound, typeInvalid, "model"
	chosen, name := "", strings.TrimPrefix(asked, "openai/")
	switch {
	case asked == "":
		chosen = ", which the proxy is set to use where none is named"
	case !models.knows(name) && models.alias(name) != name && !strings.HasSuffix(name, model): // "claude-gpt-5.5" says it
		chosen = fmt.Sprintf(", which the proxy is set to use for %.80q", asked)
	}
	e.Message = fmt.Sprintf("ChatGPT does not offer the model %.80q to this account%s. There are: %s", model, chosen, strings.Join(names, ", "))
}

// fromPage is an answer that is not the API's: a bot challenge or a gateway's error page.
func fromPage(a *Answer, advice Advice) *Error {
	e := &Error{Status: http.StatusBadGateway, Type: typeServer, Code: "upstream_error", Answer: a}
	switch {
	case a.Status == http.StatusForbidden:
		e.Code = "upstream_blocked"
		e.Message = "ChatGPT's bot check refused the address that the proxy runs at. " + advice.For(RemedyBotCheck)
	case a.Status == http.StatusUnauthorized:
		e.Status, e.Type, e.Code = a.Status, typeAuth, "sign_in_required"
		e.Message = "ChatGPT refused the sign-in. " + advice.For(RemedySignIn)
	case a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable:
		e.Status, e.Type = a.Status, typeFor(a.Status)
		e.RetryAfter = retryAfter(a.Header, time.Now())
		e.Message = "ChatGPT is busy. Send the request again in a moment"
	case a.Status < 500:
		e.Status, e.Type = a.Status, typeFor(a.Status)
		e.Message = "ChatGPT refused the request with status " + strconv.Itoa(a.Status)
	default:
		e.Message = "ChatGPT answered with an error page. Send the request again in a moment"
	}
	if ray := a.Header.Get("Cf-Ray"); ray != "" && len(ray) < 64 {
		e.Message += " (cf-ray " + ray + ")"
	}
	return e
}

// failureOf reads a response.failed or error event.
func failureOf(data []byte, now time.Time, advice Advice) *Error {
	object := gjson.GetBytes(data, "response.error")
	if !object.IsObject() {
		object = gjson.GetBytes(data, "error")
	}
	if !object.IsObject() {
		object = gjson.ParseBytes(data)
	}
	e := &Error{
		Status: http.StatusBadGateway, Type: typeServer, Code: object.Get("code").String(),
		Message: object.Get("message").String(), Param: object.Get("param").String(),
	}
	if kind := object.Get("type").String(); e.Code == "" && kind != TypeError {
		e.Code = kind
	}
	if e.Code == "" {
		e.Code = "server_error"
	}
	if e.Message == "" {
		e.Message = "ChatGPT failed to answer and did not say why"
	}
	if t, ok := codeMeanings[e.Code]; ok {
		e.Status, e.Type = t.status, t.typ
	}
	e.explain(object, now, advice)
	return e
}

// explain puts limits into words. A plan limit is 402, not 429: most agents retry a 429 in silence for minutes; and not 403, of
// which Copilot CLI and Claude Code say that the key is wrong. Its text has no epoch and none of the phrases by which opencode and pi recognise an error to be retried.
func (e *Error) explain(object gjson.Result, now time.Time, advice Advice) {
	switch e.Code {
	case "usage_limit_reached", "insufficient_quota":
		e.Status, e.Type, e.RetryAfter = http.StatusPaymentRequired, typeQuota, 0
		e.Message = "ChatGPT plan usage limit reached. " + resets(object, now)
	case "subscription_sharing_usage_limit_exceeded": // which limit, and until when, it does not say
		e.Status, e.Type, e.RetryAfter = http.StatusPaymentRequired, typeQuota, 0
		e.Message = "ChatGPT plan usage limit reached, or the weekly limit that you have set for this app. See and change it at " + ManageUsage
	case "usage_not_included":
		e.Status, e.Type, e.RetryAfter = http.StatusPaymentRequired, typePermission, 0
		e.Message = "This ChatGPT plan does not include Codex. Upgrade it at chatgpt.com, or sign in with another account"
	case "subscription_sharing_user_not_eligible":
		e.Status, e.Type, e.RetryAfter = http.StatusForbidden, typePermission, 0
		e.Message = "\"Sign in with ChatGPT\" does not let this account use its plan here: it is for Plus and Pro. " + advice.For(RemedySignInCodex)
	case "subscription_sharing_route_not_supported":
		e.Status, e.Type, e.RetryAfter = http.StatusForbidden, typePermission, 0
		e.Message = "\"Sign in with ChatGPT\" does not offer this. " + advice.For(RemedySignInCodex)
	case "subscription_sharing_unsupported_capability":
		e.Status, e.Type = http.StatusBadRequest, typeInvalid
		e.Message = "\"Sign in with ChatGPT\" can't do this: " + strings.TrimRight(e.Message, ".") + ". Leave it out, or: " + advice.For(RemedySignInCodex)
	case "subscription_sharing_usage_unavailable":
		e.Status, e.Type = http.StatusServiceUnavailable, typeServer
		e.Message = "OpenAI can't tell just now how much of your plan is left. Send the request again in a minute"
		e.RetryAfter = max(e.RetryAfter, time.Minute)
	case "subscription_sharing_user_unavailable":
		e.Status, e.Type = http.StatusServiceUnavailable, typeServer
		e.Message = "OpenAI can't look up your account just now. Send the request again in a few seconds"
		e.RetryAfter = max(e.RetryAfter, accountWait)
	case "subscription_sharing_invalid_user":
		e.Status, e.Type, e.Code = http.StatusUnauthorized, typeAuth, "sign_in_required"
		e.Message = "ChatGPT did not accept the account of this sign-in. " + advice.For(RemedySignIn)
	case "chatpass_v2_scope_not_authorized", "chatpass_v2_invalid_authorization_context":
		e.Status, e.Type, e.RetryAfter = http.StatusForbidden, typePermission, 0
		e.Message = "This sign-in gives no leave to use your plan. " + advice.For(RemedySignIn)
	case "context_length_exceeded":
		e.Status, e.Type = http.StatusBadRequest, typeInvalid
	case "rate_limit_exceeded", "slow_down":
		if e.RetryAfter == 0 {
			e.RetryAfter = waitInWords(e.Message)
		}
	}
}

// ManageUsage is where a person sees how much of the plan each app uses, and sets limits.
// Source: developers.openai.com/siwc/profiles-and-sessions.
const ManageUsage = "https://chatgpt.com/settings/usage"

// accountWait is how long is waited before a request is sent again for which the account could not be looked up.
const accountWait = 2 * time.Second

// resets says when the limit ends, in local time and in words.
func resets(object gjson.Result, now time.Time) string {
	in := time.Duration(object.Get("resets_in_seconds").Float() * float64(time.Second))
	if at := object.Get("resets_at").Int(); at > 0 {
		in = time.Unix(at, 0).Sub(now)
	}
	if in <= 0 || in > 60*24*time.Hour {
		return "See chatgpt.com/codex/settings/usage for when it resets."
	}
	return "Resets at " + Clock(now.Add(in), now) + " (" + span(in) + ")."
}

// Clock is a time as people here say it: the clock, and the day unless that is today.
func Clock(at, now time.Time) string {
	at = at.Local()
	if at.YearDay() != now.Local().YearDay() {
		return at.Format("Mon 2 Jan, 15:04")
	}
	return at.Format("15:04")
}

// span is a duration in words, without a number above 60.
func span(d time.Duration) string {
	minutes := int(d.Round(time.Minute) / time.Minute)
	switch days, hours := minutes/(24*60), minutes/60%24; {
	case days > 0:
		return plural(days, "day") + " " + plural(hours, "hour")
	case hours > 0:
		return plural(hours, "hour") + " " + plural(minutes%60, "minute")
	default:
		return plural(max(minutes, 1), "minute")
	}
}

func plural(n int, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// waitInWords finds the wait in "… try again in 11.054s".
func waitInWords(message string) time.Duration {
	_, rest, ok := strings.Cut(message, "again in ")
	if !ok {
		return 0
	}
	rest = strings.TrimRight(strings.Fields(rest + " x")[0], ".,")
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0
	}
	return max(d, 0)
}

// retryAfter reads the header, in seconds or as a date. Source: RFC 9110, 10.2.3.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second))
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

func typeFor(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return typeAuth
	case status == http.StatusForbidden:
		return typePermission
	case status == http.StatusTooManyRequests:
		return typeRate
	case status >= 500:
		return typeServer
	}
	return typeInvalid
}

// text is a detail that may be a string or an object.
func text(r gjson.Result) string {
	if m := r.Get("message"); m.Exists() {
		return m.String()
	}
	return r.String()
}
