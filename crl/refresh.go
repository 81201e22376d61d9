package crl

import (
	"context"
	"crypto/x509"
)

// Source gives the newest list of one CA, parsed and not verified. An error
// is retried. Where the CA issues lists only when asked, the Source asks:
// what it returns should not be about to expire.
type Source interface {
	CRL(ctx context.Context) (*x509.RevocationList, error)
}
