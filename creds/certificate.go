//go:build !js

package creds

import (
	"crypto/tls"
	"errors"
)

// badCertificate reports whether the server was not believed, so that nothing was sent to it.
func badCertificate(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}
