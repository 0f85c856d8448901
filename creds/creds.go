// Package creds keeps one ChatGPT sign-in alive.
//
// A sign-in is three tokens that rotate: an access token that lives for days, a refresh token that can be spent once,
// and an id token that says who the user is. Losing the answer of a refresh loses the sign-in, so everything here is
// arranged around a few rules:
//
//   - Only the [Manager] changes the sign-in, and in it one goroutine, the owner: each change is made under the store's
//     lock, which other processes respect, and is read again, decide, call, save, publish. Everybody else reads a
//     snapshot, without a lock.
//   - A refresh starts only when its answer can be stored; it is waited for and stored whoever asked and however the
//     program ends; whatever refresh token came is kept before the rest of the answer is judged; nobody sees a new token
//     before it is saved, or is known to be impossible to save.
//   - One chain of tokens is refreshed once a minute at most, whatever arrives. What surely spent nothing may be tried
//     again sooner, each time later than before: a server that was not reached, or that refused for now.
//   - Tokens end by the auth server's clock, not by this machine's.
//   - When what is stored changed behind our back, what is stored wins, unless ours is newer and not stored yet. A
//     sign-in that works is never replaced by one that is not proven.
//
// A [Store] is a place that holds a sign-in. The layers can be read alone: claims.go reads tokens, authfile.go the
// format of auth.json, file.go, keychain.go and simple.go are the stores, import.go reads what the Codex CLI has,
// oauth.go talks to the auth server, status.go is the table of states and snapshot.go what is known, owner.go,
// refresh.go and verbs.go change it. Package login brings a sign-in here.
package creds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ownership says who else may spend the refresh token of a sign-in.
type Ownership string

const (
	// Own means that this program is the only holder of the token chain.
	Own Ownership = "own"
	// Shared means that another program (the Codex CLI) holds the same refresh token.
	Shared Ownership = "shared"
)

// importedFromKeychain is the ImportedFrom of what was in the Codex CLI's keychain entry.
const importedFromKeychain = "keychain"

// Kind says which of OpenAI's sign-ins it is, and so which upstream answers for it.
type Kind string

const (
	// KindCodex is a sign-in of the Codex CLI's kind, for the Codex backend.
	KindCodex Kind = "codex"
	// KindChatGPT is a "Sign in with ChatGPT", for OpenAI's public API.
	KindChatGPT Kind = "chatgpt"
)

// Credentials is one sign-in. The zero value is "no sign-in". It is a value: copy it freely.
// It prints, and marshals to JSON, without its secrets.
type Credentials struct {
	AccessToken  string
	RefreshToken string // may be empty: then the sign-in lasts as long as the access token
	IDToken      string // may be empty

	UserID    string // who signed in, the same in all of their workspaces; may be empty
	AccountID string // ChatGPT account (workspace) id, sent as chatgpt-account-id
	Email     string // from the id token, may be empty
	Plan      string // from the tokens ("plus", "pro", ...), may be empty
	FedRAMP   bool   // the account lives in the FedRAMP environment

	ExpiresAt   time.Time // when the access token ends; zero when the token does not say
	LastRefresh time.Time // when the tokens were issued to the holder; zero when unknown

	Kind     Kind
	ClientID string // OAuth client that the tokens were issued to; empty for the Codex client
	Scope    string // what was granted, words with spaces between; empty when the auth server did not say

	Ownership    Ownership
	ImportedFrom string // where an import read it: a file path or "keychain"; empty for other sign-ins
	TakeOver     bool   // a shared import that should become our own chain by a refresh as soon as possible
}

// IsZero reports whether c holds no sign-in at all.
func (c Credentials) IsZero() bool { return c.AccessToken == "" && c.RefreshToken == "" }

// ExpiredAt reports whether the access token is known to have ended at t.
func (c Credentials) ExpiredAt(t time.Time) bool {
	return c.AccessToken == "" || (!c.ExpiresAt.IsZero() && !t.Before(c.ExpiresAt))
}

// scopeOfPlan is the leave to use the plan. Source: developers.openai.com/siwc/token-sharing-open-source.
const scopeOfPlan = "chatgpt.tokens.use.direct"

// IdentityOnly reports that c is a "Sign in with ChatGPT" that was granted without leave to use the plan.
func (c Credentials) IdentityOnly() bool {
	return c.Kind == KindChatGPT && c.Scope != "" && !slices.Contains(strings.Fields(c.Scope), scopeOfPlan)
}

// sameAccount reports whether d is of c's person and of the workspace in use, or of the one that c's tokens were made
// for: another one may have been chosen here since.
func (c Credentials) sameAccount(d Credentials) bool {
	if c.UserID != d.UserID && c.UserID != "" && d.UserID != "" {
		return false
	}
	made := c
	made.AccountID = ""
	return d.AccountID == c.AccountID || d.AccountID == made.describe().AccountID
}

// sameTokens reports whether c and d hold the same secrets.
func (c Credentials) sameTokens(d Credentials) bool {
	return c.AccessToken == d.AccessToken && c.RefreshToken == d.RefreshToken
}

// newerThan reports whether c was issued after d.
func (c Credentials) newerThan(d Credentials) bool {
	if !c.LastRefresh.Equal(d.LastRefresh) {
		return c.LastRefresh.After(d.LastRefresh)
	}
	return c.ExpiresAt.After(d.ExpiresAt)
}

// public is what may be shown of a sign-in.
type public struct {
	AccountID    string    `json:"account_id,omitempty"`
	Email        string    `json:"email,omitempty"`
	Plan         string    `json:"plan,omitempty"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	LastRefresh  time.Time `json:"last_refresh,omitzero"`
	Ownership    Ownership `json:"ownership,omitempty"`
	ImportedFrom string    `json:"imported_from,omitempty"`
	Tokens       string    `json:"tokens"`
}

func (c Credentials) public() public {
	tokens := "none"
	switch {
	case c.AccessToken != "" && c.RefreshToken != "":
		tokens = "access and refresh, not shown"
	case c.AccessToken != "":
		tokens = "access, not shown"
	case c.RefreshToken != "":
		tokens = "refresh, not shown"
	}
	return public{c.AccountID, c.Email, c.Plan, c.ExpiresAt, c.LastRefresh, c.Ownership, c.ImportedFrom, tokens}
}

// String describes the sign-in without its secrets.
func (c Credentials) String() string {
	p := c.public()
	return fmt.Sprintf("sign-in{account %q, email %q, plan %q, expires %s, %s, tokens: %s}",
		p.AccountID, p.Email, p.Plan, p.ExpiresAt.Format(time.RFC3339), p.Ownership, p.Tokens)
}

// GoString is String, so that %#v does not show secrets either.
func (c Credentials) GoString() string { return c.String() }

// MarshalJSON shows what String shows. Stores use the format in authfile.go instead.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.public()) }
