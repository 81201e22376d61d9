// Package ejbca is a client of EJBCA-REST, the service through which dojot
// talks to its certificate authority, and of package localca, which serves
// the same API.
//
//	client := &ejbca.Client{BaseURL: "http://ejbca:5583"}
//	chain, err := client.Chain(ctx, "IOTmidCA")
//	list, err := client.CRL(ctx, "IOTmidCA")
//
// From outside of dojot the service is reached through its gateway, with a
// token that lives for minutes; [Credentials] fetch one and keep it fresh:
//
//	login := &ejbca.Credentials{BaseURL: "https://dojot.example.com", Username: "admin", Password: password}
//	client := &ejbca.Client{BaseURL: login.BaseURL, Token: login.Token}
//
// An [Issuer] binds a client to one CA and one end entity, and is what a
// device or a broker needs to get certificates and revocation lists.
//
// The package speaks in domain types. Hexadecimal serials, base64 without
// armour, the two meanings of a CA in a path and the service's odd statuses
// (400 for a name that doesn't exist) stay inside; what callers branch on are
// [ErrNotFound], [ErrDenied], [ErrGenerated], [ErrRevoked] and
// [ErrUnavailable], and [*Error] has the details.
//
// It neither makes keys nor stores anything, and it verifies of what it gets
// only what nobody else could: that a certificate carries the key that was
// sent. Whether to trust a chain or a list is the caller's to say.
package ejbca
