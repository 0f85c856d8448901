package creds

import (
	"net/http"
	"os"
	"testing"
	"time"
)

// TestNoRoomStaysReservedAfterARefreshThatFailed: on Windows nobody else could store a sign-in there.
func TestNoRoomStaysReservedAfterARefreshThatFailed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(50 * time.Minute)
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(429) }))
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		if m.Refresh(t.Context()) == nil {
			t.Fatal("no error")
		}
		if _, err := os.Stat(NewFileStore(w.path()).second()); err == nil {
			t.Error("its file is still there")
		}
		if err := w.manager(NewFileStore(w.path())).CanStore(t.Context()); err != nil {
			t.Errorf("another program: %v", err)
		}
	})
}
