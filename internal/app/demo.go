package app

import (
	"net"
	"net/http"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

// startDemo starts the stand-in for OpenAI's hosts on a free loopback port, signs in there, and points the settings
// at it.
func (a *App) startDemo() (creds.Credentials, error) {
	backend := fakebackend.New()
	backend.Models = codex.BundledModels()
	backend.Label = "This is the demo of Codex Proxy; no model was asked. "
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return creds.Credentials{}, err
	}
	server := &http.Server{Handler: backend, ReadHeaderTimeout: 10 * time.Second, ErrorLog: standardLogger(a.log)}
	go server.Serve(l) //nolint:errcheck // ends with Close
	a.endWith(func() { server.Close() })
	address := "http://" + l.Addr().String()
	a.Settings.BackendURL, a.Settings.APIURL, a.Settings.AuthURL = address+"/backend-api", address+"/v1", address
	t := backend.SignIn(backend.AccessLife)
	return creds.FromTokens(t.Access, t.Refresh, t.ID, fakebackend.AccountID), nil
}
