package codex

import (
	"bytes"
	"errors"
	"io"
	"net/http"
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
