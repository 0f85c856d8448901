package proxy

import (
	"context"
	"net/http"

	"codex-proxy/proxy/codex"
)

// drainKey is under what a Service tells its requests, in their context, that it is stopping.
type drainKey struct{}

// draining is closed when the Service that took a request is stopping: nothing new should be begun. It is nil, which
// never is, where there is no Service.
func draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainKey{}).(chan struct{})
	return c
}

// strangerKey is under what a Service tells of a connection, in its context, that it is another user's: the uid, or -1 for nobody knows whose.
type strangerKey struct{}

// Stranger reports whether a request is of another user of this machine, for handlers beside a Server.
func Stranger(ctx context.Context) bool { return ctx.Value(strangerKey{}) != nil }

// stranger returns the error for a request of another user of this machine; nil for all others.
func stranger(ctx context.Context) *codex.Error {
	if !Stranger(ctx) {
		return nil
	}
	return &codex.Error{Status: http.StatusForbidden, Type: "permission_error", Code: "other_user",
		Message: "This proxy belongs to another user of this machine. Start one of your own"}
}
