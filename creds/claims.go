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
	Expiry    float64 `json:"exp"`
	Email     string  `json:"email"`
	Nonce     string  `json:"nonce"`
	AccountID string  `json:"chatgpt_account_id"`
	Profile   struct {
		Email string `json:"email"`
	} `json:"https://api.openai.com/profile"`
	Auth struct {
		AccountID string `json:"chatgpt_account_id"`
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

func (c claims) expiry() time.Time {
	const year9999 = 253402300799
	if c.Expiry <= 0 || c.Expiry > year9999 {
		return time.Time{}
	}
	return time.Unix(int64(c.Expiry), 0)
}

// describe fills what the tokens themselves say: expiry, email, plan, and the account id when it is not set.
// Tokens that can't be read leave the fields as they are.
func (c Credentials) describe() Credentials {
	if c.Kind == "" {
		c.Kind = KindCodex
	}
	access, accessErr := parseClaims(c.AccessToken)
	id, _ := parseClaims(c.IDToken)
	if accessErr == nil && !access.expiry().IsZero() {
		c.ExpiresAt = access.expiry()
	}
	c.AccountID = first(c.AccountID, id.Auth.AccountID, id.AccountID, access.Auth.AccountID, access.AccountID)
	c.Email = first(id.Email, id.Profile.Email, access.Email, access.Profile.Email, c.Email)
	c.Plan = first(access.Auth.Plan, id.Auth.Plan, c.Plan)
	c.FedRAMP = c.FedRAMP || id.Auth.FedRAMP || access.Auth.FedRAMP
	return c
}

// FromTokens builds a sign-in from tokens as an auth server or an environment hands them out. An empty accountID
// is taken from the tokens.
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
