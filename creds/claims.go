package creds

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// claims is what this program reads from an id or access token of OpenAI's auth server. Tokens are read, not
// verified: they come from the user's own disk or from the auth server over TLS, and the backend verifies them.
// Source: openai/codex login/src/token_data.rs.
type claims struct {
	Expiry    float64  `json:"exp"`
	Issued    float64  `json:"iat"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ClientID  string   `json:"client_id"`
	Email     string   `json:"email"`
	AccountID string   `json:"chatgpt_account_id"`
	Profile   struct {
		Email string `json:"email"`
	} `json:"https://api.openai.com/profile"`
	Auth struct {
		AccountID string `json:"chatgpt_account_id"`
		UserID    string `json:"chatgpt_user_id"`
		Plan      string `json:"chatgpt_plan_type"`
		FedRAMP   bool   `json:"chatgpt_account_is_fedramp"`
	} `json:"https://api.openai.com/auth"`
}

var errNotJWT = errors.New("not a JSON web token")

// parseClaims reads the payload of a JSON web token.
func parseClaims(token string) (claims, error) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errNotJWT
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return c, errNotJWT
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return claims{}, errNotJWT
	}
	return c, nil
}

// audience is whom a token is for: one name or several. Anything else counts as none.
type audience []string

// UnmarshalJSON takes both forms. Source: RFC 7519, 4.1.3.
func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	var many []string
	if json.Unmarshal(raw, &one) == nil {
		*a = audience{one}
	} else if json.Unmarshal(raw, &many) == nil {
		*a = many
	}
	return nil
}

func (c claims) expiry() time.Time { return unixTime(c.Expiry) }

// issued is the auth server's time when it made the token.
func (c claims) issued() time.Time { return unixTime(c.Issued) }

func unixTime(seconds float64) time.Time {
	const year9999 = 253402300799
	if seconds <= 0 || seconds > year9999 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// describe fills what the tokens themselves say: expiry, email, plan, and the account id when it is not set.
// Tokens that can't be read leave the fields as they are.
func (c Credentials) describe() Credentials {
	access, accessErr := parseClaims(c.AccessToken)
	id, _ := parseClaims(c.IDToken)
	if c.Kind == "" {
		c.Kind, c.ClientID = KindCodex, ""
		if clients := issuedTo(access, id); len(clients) > 0 && clients[0] != CodexClientID {
			c.Kind, c.ClientID = KindChatGPT, clients[0]
		}
	}
	if accessErr == nil && !access.expiry().IsZero() {
		c.ExpiresAt = access.expiry()
	}
	c.AccountID = first(c.AccountID, id.Auth.AccountID, id.AccountID, access.Auth.AccountID, access.AccountID)
	c.UserID = first(id.Auth.UserID, access.Auth.UserID, id.Subject, access.Subject, c.UserID)
	c.Email = first(id.Email, id.Profile.Email, access.Email, access.Profile.Email, c.Email)
	c.Plan = first(access.Auth.Plan, id.Auth.Plan, c.Plan)
	c.FedRAMP = c.FedRAMP || id.Auth.FedRAMP || access.Auth.FedRAMP
	return c
}

// issuedTo is the OAuth client that an access token and an id token were made for; empty where they don't say. The id
// token's audience is the client; the access token's is an API, and it names the client aside.
func issuedTo(access, id claims) []string {
	var clients []string
	for _, name := range append([]string{access.ClientID, id.ClientID}, id.Audience...) {
		if name != "" && !strings.Contains(name, "://") {
			clients = append(clients, name)
		}
	}
	return clients
}

// ErrMixed means that tokens of one kind of sign-in stand under the name of another. They are sent nowhere.
var ErrMixed = errors.New("tokens of two kinds of sign-in are mixed")

// Check refuses a sign-in whose tokens were issued to another OAuth client than it says: ErrMixed. Tokens that don't
// tell are believed.
func (c Credentials) Check() error {
	want := c.ClientID
	if c.Kind != KindChatGPT {
		want = CodexClientID
	}
	access, _ := parseClaims(c.AccessToken)
	id, _ := parseClaims(c.IDToken)
	for _, client := range issuedTo(access, id) {
		if client != want {
			return ErrMixed
		}
	}
	return nil
}

// FromTokens builds a sign-in from tokens as an auth server or an environment hands them out. An empty accountID
// is taken from the tokens, and so is the kind: whom they were issued to decides. See Check for tokens that disagree.
func FromTokens(accessToken, refreshToken, idToken, accountID string) Credentials {
	return Credentials{AccessToken: accessToken, RefreshToken: refreshToken, IDToken: idToken, AccountID: accountID, Ownership: Own}.describe()
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
