package codex

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"codex-proxy/creds"
)

// listing answers every request with the list of models, and is a cache that can't be written.
type listing struct{ page }

func (listing) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(BundledModels())), Request: r}, nil
}

func (listing) Load() ([]byte, error) { return nil, errors.New("there is none") }

func (listing) Save([]byte) error { return errors.New("the disk is full") }

func TestAListThatCantBeKeptIsAListAllTheSame(t *testing.T) {
	c := &Client{Upstreams: map[creds.Kind]Upstream{creds.KindCodex: {ModelsURL: "http://localhost", Header: func(http.Header, creds.Token) {}}}, HTTP: listing{}, Tokens: listing{}}
	models := NewCatalogue("", listing{})
	for range 2 {
		if err := models.Fetch(t.Context(), c); err != nil {
			t.Error(err)
		}
		models.Stale()
	}
}

// TestWhoChoseAModelThatIsNotThereIsSaid: the caller can't know, also where the model's name is a part of what it asked for.
func TestWhoChoseAModelThatIsNotThereIsSaid(t *testing.T) {
	c := NewCatalogue("gpt-3", nil)
	c.Aliases = map[string]string{"gpt-4-codex": "gpt-4", "fast": "gpt-4-fast", "claude": ""}
	for asked, by := range map[string]string{
		"":                 ", which the proxy is set to use where none is named",
		"gpt-4-codex":      `, which the proxy is set to use for "gpt-4-codex"`,
		"gpt-4-codex-high": `, which the proxy is set to use for "gpt-4-codex-high"`,
		"fast":             `, which the proxy is set to use for "fast"`,
		"openai/fast":      `, which the proxy is set to use for "openai/fast"`,
		"claude-opus":      `, which the proxy is set to use for "claude-opus"`,
		"gpt-4-high":       "",
		"openai/gpt-4":     "",
	} {
		model, _ := c.Resolve(asked, "")
		e := &Error{Code: codeUnknownModel}
		if e.nameModels(asked, model, c); !strings.Contains(e.Message, "to this account"+by+". There are: ") {
			t.Errorf("%q: %s", asked, e.Message)
		}
	}
}
