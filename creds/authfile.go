package creds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// authFile is the Codex CLI's auth.json, and our own file, which is the same with one more object.
// Source: openai/codex login/src/auth/storage.rs.
type authFile struct {
	AuthMode     string          `json:"auth_mode"`
	OpenAIAPIKey string          `json:"OPENAI_API_KEY"`
	Tokens       *authFileTokens `json:"tokens"`
	LastRefresh  string          `json:"last_refresh"`
	Ours         *authFileOurs   `json:"codex_proxy"`
}

type authFileTokens struct {
	IDToken      string `json:"id_token"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	AccountID    string `json:"account_id"`
}

// authFileOurs is what only our own file holds. It is never written into the CLI's file, which drops it.
type authFileOurs struct {
	Ownership    Ownership `json:"ownership"`
	ImportedFrom string    `json:"imported_from,omitempty"`
	TakeOver     bool      `json:"take_over,omitempty"`
	Kind         Kind      `json:"kind,omitempty"`
	ClientID     string    `json:"client_id,omitempty"`
	Scope        string    `json:"scope,omitempty"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"` // for access tokens that don't tell their end
}

// modeChatGPT is the auth_mode of a sign-in that is not the Codex CLI's kind, so that no other program takes it for one.
const modeChatGPT = "sign_in_with_chatgpt"

// modeSignedOut is the auth_mode of a file that says that the user signed out, so that nothing is imported again.
const modeSignedOut = "signed_out"

var errNoTokens = errors.New("it holds no tokens")

// decodeAuthFile reads auth.json. A file without our own object counts as shared: another program wrote it.
// Errors wrap ErrCorrupt, ErrNotChatGPT or ErrSignedOut.
func decodeAuthFile(raw []byte) (Credentials, error) {
	var f authFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return Credentials{}, fmt.Errorf("%w (%d bytes that are not the JSON of a sign-in)", ErrCorrupt, len(raw))
	}
	if f.AuthMode == modeSignedOut {
		return Credentials{}, ErrSignedOut
	}
	if f.AuthMode != "" && f.AuthMode != "chatgpt" && f.AuthMode != "chatgptAuthTokens" && (f.AuthMode != modeChatGPT || f.Ours == nil) {
		return Credentials{}, fmt.Errorf("%w (it is of the kind %.40q)", ErrNotChatGPT, f.AuthMode)
	}
	if f.Tokens == nil || (f.Tokens.AccessToken == "" && f.Tokens.RefreshToken == "") {
		if f.OpenAIAPIKey != "" {
			return Credentials{}, fmt.Errorf("%w (it is an API key)", ErrNotChatGPT)
		}
		return Credentials{}, fmt.Errorf("%w (%w)", ErrNotChatGPT, errNoTokens)
	}
	c := Credentials{
		AccessToken:  f.Tokens.AccessToken,
		RefreshToken: f.Tokens.RefreshToken,
		IDToken:      f.Tokens.IDToken,
		AccountID:    f.Tokens.AccountID,
		Ownership:    Shared,
	}
	if t, err := time.Parse(time.RFC3339Nano, f.LastRefresh); err == nil {
		c.LastRefresh = t
	}
	if f.Ours != nil {
		c.ImportedFrom, c.TakeOver = f.Ours.ImportedFrom, f.Ours.TakeOver
		c.Kind, c.ClientID, c.Scope, c.ExpiresAt = f.Ours.Kind, f.Ours.ClientID, f.Ours.Scope, f.Ours.ExpiresAt
		if f.Ours.Ownership == Own {
			c.Ownership = Own
		}
	}
	return c.describe(), nil
}

// encodeAuthFile writes c. With ours it is our own file, in which nothing of an earlier sign-in stays, with the object
// that only that has. Otherwise it is the Codex CLI's: c goes into previous, which may be empty, and every field that we
// don't know stays, in its order.
func encodeAuthFile(c Credentials, previous []byte, ours bool) ([]byte, error) {
	if !ours && c.Kind == KindChatGPT {
		return nil, errors.New("the Codex CLI's file can't hold a \"Sign in with ChatGPT\"")
	}
	if c.IsZero() {
		return []byte(`{"auth_mode":"` + modeSignedOut + `"}`), nil
	}
	doc := previous
	if ours || !json.Valid(doc) || bytes.TrimSpace(doc)[0] != '{' {
		doc = []byte(`{"auth_mode":"chatgpt","OPENAI_API_KEY":null}`)
	}
	var err error
	set := func(path string, value any) {
		if err == nil {
			doc, err = sjson.SetBytes(doc, path, value)
		}
	}
	set("tokens.id_token", c.IDToken)
	set("tokens.access_token", c.AccessToken)
	set("tokens.refresh_token", c.RefreshToken)
	if c.AccountID != "" {
		set("tokens.account_id", c.AccountID)
	}
	if !c.LastRefresh.IsZero() {
		set("last_refresh", c.LastRefresh.UTC().Format(time.RFC3339Nano))
	}
	if ours {
		if c.Kind == KindChatGPT {
			set("auth_mode", modeChatGPT)
		}
		set("codex_proxy", authFileOurs{c.Ownership, c.ImportedFrom, c.TakeOver, c.Kind, c.ClientID, c.Scope, c.ExpiresAt.UTC()})
	} else if mode := gjson.GetBytes(doc, "auth_mode").String(); mode != "chatgpt" && mode != "chatgptAuthTokens" {
		set("auth_mode", "chatgpt")
	}
	if err != nil {
		return nil, fmt.Errorf("encode sign-in: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, doc, "", "  "); err != nil {
		return nil, fmt.Errorf("encode sign-in: %w", err)
	}
	return out.Bytes(), nil
}
