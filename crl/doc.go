// Package crl signs, reads, checks and installs X.509 certificate revocation
// lists (RFC 5280, section 5) for a Mosquitto broker.
//
// A broker with a crlfile judges every TLS handshake by the list of the CA
// that issued the client's certificate, and is unforgiving in both
// directions: an expired list, or none for that CA, refuses every client,
// and a file that does not parse switches revocation off (2.0) or ends the
// broker (2.1) at the next reload. So a list is never put in place unread:
//
//	list, err := crl.Parse(answer)            // DER, PEM or bare base64
//	…
//	file, err := crl.OpenFile("/etc/mosquitto/certs/ca.crl", crl.FileOptions{CAs: cas})
//	…
//	changed, err := file.Install(list)        // verified and newer, or refused
//
// [Verify] accepts only what a broker accepts, and refuses more where a
// broker is careless: a list without an end, a delta, which it may take for
// the complete list, and entries that it passes over. [Complete] says whether
// a crlfile serves every CA, and [Accepts] whether a broker with it would let a
// certain client in, or why not.
//
// [Refresher] keeps a [File] fresh from any [Source], such as an [HTTPSource].
// [Index] answers for lists of a million entries whether a serial is on them.
//
// [Sign] is the other side, for a CA. [Lint] says which rules of RFC 5280 a
// list breaks; [Merge] combines a delta with its base, for the issuer to sign.
//
// Lists are *x509.RevocationList throughout, and it is the Raw field that
// counts: what a [Source] gives has no RevokedCertificateEntries, which [Parse]
// reads and an Index replaces. The package signals no broker:
// what follows an installation is the caller's. It does not read version 1
// lists, and [Verify] does not check the certificate chain above a list's
// issuer: the caller says which CAs it trusts.
package crl
