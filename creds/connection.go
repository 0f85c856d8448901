//go:build !js

package creds

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
)

// badCertificate reports whether the server was not believed, so that nothing was sent to it.
func badCertificate(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}

// watchConnection returns the context to send a request with. Afterwards unconnected reports that there never was a
// connection to the server, so that nothing was sent to it.
func watchConnection(ctx context.Context) (watched context.Context, unconnected func() bool) {
	var wanted, had atomic.Bool
	watched = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { had.Store(true) },
	})
	return watched, func() bool { return wanted.Load() && !had.Load() }
}
