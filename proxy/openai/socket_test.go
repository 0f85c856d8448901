package openai

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// silentSocket is a connection on which nothing comes.
type silentSocket struct{ why error }

func (*silentSocket) Read(ctx context.Context) ([]byte, func(), error) {
	<-ctx.Done()
	return nil, nil, ctx.Err()
}
func (*silentSocket) Write(context.Context, []byte) error { return nil }
func (*silentSocket) Ping(context.Context) error          { return nil }
func (s *silentSocket) Close(why error)                   { s.why = why }

func TestAConnectionThatNobodyUsesIsToldWhyItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := &silentSocket{}
		(&Handler{Store: NewResponseStore()}).Socket(t.Context(), nil, nil, ws, nil)
		if !errors.Is(ws.why, ErrSocketIdle) {
			t.Errorf("it is closed for %v", ws.why)
		}
	})
}
