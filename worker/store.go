//go:build js

package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall/js"

	"codex-proxy/creds"
	"codex-proxy/internal/seal"
	"codex-proxy/proxy"
	"codex-proxy/proxy/codex"
)

// kvStore keeps the sign-in in the Durable Object's storage, which is consistent, and a copy in KV, where the user of
// the binding expects it. With CREDENTIALS_KEY both are encrypted. The object is the only one that uses it.
type kvStore struct {
	creds.Alone
	host   js.Value // host.mjs: load() -> Promise of text or null, save(text) and replace(text) -> Promise
	secret string   // CREDENTIALS_KEY, or empty
}

func (s *kvStore) problem(kind error, hint string) error {
	return &creds.StoreError{Kind: kind, Where: s.Name(), Hint: hint}
}

// Load reads the sign-in. One that was written before CREDENTIALS_KEY was set is encrypted then.
func (s *kvStore) Load(context.Context) (creds.Credentials, error) {
	v, err := await(s.host.Call("load"))
	switch {
	case err != nil:
		return creds.Credentials{}, &creds.StoreError{Kind: creds.ErrUnreadable, Where: s.Name(), Cause: err, Hint: "Try again in a minute"}
	case v.Type() != js.TypeString || v.String() == "":
		return creds.Credentials{}, s.problem(creds.ErrMissing, "")
	}
	raw := []byte(v.String())
	sealed := seal.Sealed(raw)
	if sealed {
		if s.secret == "" {
			return creds.Credentials{}, s.problem(creds.ErrUnreadable, "It is encrypted: wrangler secret put CREDENTIALS_KEY")
		}
		if raw, err = seal.FromSecret(s.secret).Open(raw); err != nil {
			return creds.Credentials{}, s.problem(creds.ErrUnreadable, "CREDENTIALS_KEY is not the one that it was encrypted with. Set the right one, or sign it in anew: "+fill)
		}
	}
	c, err := proxy.DecodeAdmin(raw)
	if errors.Is(err, proxy.ErrStaysLocal) {
		return creds.Credentials{}, &creds.StoreError{Kind: creds.ErrUnreadable, Where: s.Name(), Cause: err, Hint: "Fill it anew: " + fill}
	}
	if err != nil {
		return creds.Credentials{}, s.problem(creds.ErrCorrupt, "")
	}
	if c.IsZero() {
		return c, s.problem(creds.ErrSignedOut, "")
	}
	if s.secret != "" && !sealed {
		await(s.host.Call("replace", string(s.encode(c)))) //nolint:errcheck // the next start does it
	}
	return c, nil
}

// Save writes the sign-in to both places.
func (s *kvStore) Save(_ context.Context, c creds.Credentials) error {
	return s.write("save", string(s.encode(c)))
}

func (s *kvStore) write(call, text string) error {
	if _, err := await(s.host.Call(call, text)); err != nil {
		return &creds.StoreError{Kind: creds.ErrNotWritten, Where: s.Name(), Cause: err}
	}
	return nil
}

func (s *kvStore) encode(c creds.Credentials) []byte {
	raw := proxy.EncodeAdmin(c)
	if s.secret != "" {
		raw = seal.FromSecret(s.secret).Seal(raw)
	}
	return raw
}

// Note keeps the refresh tokens that were used up beyond the life of the process: whoever fills the Worker may send the
// same body again. The rest of an attempt is the process's own.
func (s *kvStore) Note(ctx context.Context, a creds.Attempt) error {
	if !slices.Equal(a.Spent, s.Attempt(ctx).Spent) {
		if err := s.write("saveSpent", strings.Join(a.Spent, " ")); err != nil {
			return err
		}
	}
	return s.Alone.Note(ctx, a)
}

// Attempt is the last one of this process, or what Note kept of those before.
func (s *kvStore) Attempt(ctx context.Context) creds.Attempt {
	a := s.Alone.Attempt(ctx)
	if a.Token == "" {
		if v, err := await(s.host.Call("loadSpent")); err == nil && v.Type() == js.TypeString {
			a.Spent = strings.Fields(v.String())
		}
	}
	return a
}

// Name says where this is.
func (s *kvStore) Name() string { return "the Worker's storage" }

// remedy says how something is done that an error speaks of, to somebody who deployed the Worker.
func remedy(r codex.Remedy) string {
	switch r {
	case codex.RemedySignIn, codex.RemedySignInCodex:
		return "Fill the Worker anew: codex-proxy worker push --fresh, or POST /admin/credentials"
	case codex.RemedyBotCheck:
		return "A Worker comes from Cloudflare's addresses, and you can't choose another. Send the request again later; if it stays, set the Worker's variable UPSTREAM_BASE_URL to a host of your own that passes requests on, or run the proxy on your own machine"
	case codex.RemedyNetwork:
		return "Send the request again; if it stays, look at the Worker's variable UPSTREAM_BASE_URL"
	case codex.RemedyIdleTimeout:
		return "Send the request again"
	case codex.RemedyStrict:
		return "Leave it out, or unset the Worker's variable STRICT"
	case codex.RemedyAllowOrigin:
		return "To allow it, add it to the Worker's variable ALLOW_ORIGIN"
	case codex.RemedyAPIKey:
		return "Set it as the API key in your tool: one of the Worker's PROXY_API_KEY, not OpenAI's"
	}
	return ""
}

const fill = "codex-proxy worker push, or POST /admin/credentials"

// advice says what to do, in the Worker's words.
func advice(c creds.Cause) string {
	switch {
	case c == creds.CauseStoreUnreadable:
		return "Try again in a minute; if it stays, fill it anew: " + fill
	case c == creds.CauseClock:
		return ""
	case c.Passing():
		return "It is tried again by itself"
	case c == creds.CauseNeverSignedIn, c == creds.CauseSignedOut, c == creds.CauseRemoved:
		return "Fill it: " + fill
	}
	return "Give it another sign-in: " + fill
}
