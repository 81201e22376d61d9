// Package localca is a small certificate authority that serves the REST API
// of dojot's EJBCA-REST, for installations that want TLS for their devices
// without an EJBCA beside it. Clients of the original work unchanged: same
// paths, same JSON, same texts.
//
//	ca, err := localca.Open("/var/lib/ca", localca.Options{SubCAs: localca.DojotSubCAs()})
//	…
//	defer ca.Close()
//	err = ca.ListenAndServe(ctx, "") // 127.0.0.1:5583
//
// A [CA] is also an [http.Handler], for a server of one's own; that has to set
// its own time limits for slow clients and to keep strangers out, as [CA.Serve]
// does. [OpenTemporary] is for tests.
//
// The root is IOTmidCA, with the name CN=IOTmidCA,O=EJBCA IOT,C=SE, which dojot
// uses for everything; sub-CAs are made as [Options] describe them, and each
// has its own CRL. Keys, certificates, end entities and CRLs live in one file,
// ca.db, mode 0600, which is written in transactions: a crash leaves the state
// before a request or after it, and what was answered is on disk. Requests that
// come at the same time share a transaction. Who can read that file, or a
// backup of it, is the CA, unless a passphrase encrypts the keys
// ([Options].PassphraseFile); they are PKCS#8 as OpenSSL reads it.
//
// [Devices] keeps end entities in step with dojot's device events.
//
// # What a certificate says
//
// Profile CFREE: RSA keys of 2048 to 8192 bits (and ECDSA on P-256 by
// [Options].ECDSA), signed with SHA-256, 730 days from ten minutes ago but not
// beyond the CA's own end, key usages digitalSignature, nonRepudiation,
// keyEncipherment, dataEncipherment and keyAgreement (without the two
// encipherments for ECDSA), no CA certificate ever. The subject is the end
// entity's subjectDN whatever the request says. From the request come the
// public key and the DNS names and IP addresses of its subjectAltName, nothing
// else.
//
// # Lists
//
// GET never hands out a CRL that lacks a revocation answered before, or has
// less than a third of its lifetime left: it makes a new one first. So nothing
// is signed for nobody, and a thousand revocations cost one signature.
// [CA.Run], which [CA.Serve] includes, has new ones ready in time for those
// that don't change. A certificate that expires leaves the CRL after it was
// once more on one. A list's number is the time in seconds since 1970, or one
// more than the last.
//
// With [Options].DeltaLifetime there are delta lists, too. Their base is the
// last CRL that was made on schedule, by PUT or by ?update=true, not one that
// was made because a revocation was missing. Brokers can't use them.
//
// # Where it differs from the original, on purpose
//
//   - The original copied every extension of a request, so that a device could
//     get itself a CA certificate. Here only the SANs are taken.
//   - The original waited to be asked for a CRL, by PUT, also after a
//     revocation.
//   - The root lives for ten years, and sub-CAs as long unless described
//     otherwise. The original's 650 days cut every certificate short and ended
//     whole installations.
//   - The CA keys are made on first use; the original's root was part of a
//     public image.
//   - Passwords are stored as hashes, salted and keyed with the root's key,
//     whatever clearPwd says.
//   - User names with control characters, or with one of ;!%?$~<> and the
//     back-tick, are refused; the original silently turned those into slashes,
//     so that two names could mean one entity. So is the subject of a CA.
//   - The type and length of a request's key are checked before the proof that
//     the sender holds it, which would take any time with a key of any size. The
//     original checked them last, after the password, so that a request with
//     several faults is refused for another one.
//   - Where the original answered 500 with a page of HTML, the answer is 400
//     (or 401, 404, 405, 413, 421) in the shape of its other errors.
//   - [Options].Reset lets end entities enrol again without making them NEW
//     first, which in dojot 0.5-alpha a wrong password did, too.
//   - Profiles other than CFREE and EMPTY_CFREE don't exist.
//
// Keys and certificates are crypto/x509's. What that lacks, the passphrase
// around a key, is 80 lines here; go.step.sm/crypto has it, too, but would bring
// sixteen modules for that and for templates that nobody needs here.
//
// # What it does not do
//
// It knows no roles. Whoever can send it requests, with the token if there is
// one ([Options].TokenFile), is CA administrator, as with the original; without
// a token, Serve listens on loopback addresses and for localhost only. Nor does
// it judge SANs: an end entity that knows its password may ask for the broker's
// host name.
package localca
