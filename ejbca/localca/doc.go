// Package localca is a small certificate authority that serves the REST API
// of dojot's EJBCA-REST, for installations that want TLS for their devices
// without an EJBCA beside it. Clients of the original work unchanged: same
// paths, same JSON, same texts.
//
//	ca, err := localca.Open("/var/lib/ca", localca.Options{})
//	…
//	defer ca.Close()
//	http.ListenAndServe("127.0.0.1:5583", ca)
//
// One root CA issues everything, as dojot used EJBCA: IOTmidCA, with the name
// CN=IOTmidCA,O=EJBCA IOT,C=SE. Its key, certificate, end entities, issued
// certificates and CRL live in one file, ca.db, mode 0600, which is written
// in transactions: a crash leaves the state before a request or after it. Who
// can read that file, or a backup of it, is the CA.
//
// # What a certificate says
//
// Profile CFREE: RSA keys of 2048 to 8192 bits, signed with SHA-256, 730 days
// from ten minutes ago but not beyond the CA's own end, key usages
// digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment and
// keyAgreement, no CA certificate ever. The subject is the end entity's
// subjectDN whatever the request says. From the request come the public key
// and the DNS names and IP addresses of its subjectAltName, nothing else.
//
// # Where it differs from the original, on purpose
//
//   - The original copied every extension of a request, so that a device could
//     get itself a CA certificate. Here only the SANs are taken.
//   - GET never hands out a CRL that lacks a revocation answered before, or
//     has less than a third of its lifetime left: it makes a new one first. The
//     original waited to be asked by PUT.
//   - The root lives for ten years. The original's 650 days cut every
//     certificate short and ended whole installations.
//   - The CA key is made on first use; the original's was part of a public
//     image.
//   - Passwords are stored as salted hashes whatever clearPwd says.
//   - User names with control characters, or with one of ;!%?$~<> and the
//     back-tick, are refused; the original silently turned those into slashes,
//     so that two names could mean one entity.
//   - Where the original answered 500 with a page of HTML, the answer is 400
//     (or 404, 405, 413) in the shape of its other errors.
//   - Sub-CAs, delta CRLs and profiles other than CFREE and EMPTY_CFREE don't
//     exist.
//
// # What it does not do
//
// It asks nobody who they are. Whoever can send it requests is CA
// administrator, exactly as with the original: listen on loopback or an
// internal network, or put a handler in front that authenticates. Nor does it
// judge SANs: an end entity that knows its password may ask for the broker's
// host name.
package localca
