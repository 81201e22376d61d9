package localca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Profile CFREE.
const (
	minKeyBits = 2048
	maxKeyBits = 8192
	p256Bits   = 256 // by an option, and ECDSA
	lifetime   = 730 * 24 * time.Hour
	// backdate is EJBCA's allowance for clocks that are behind.
	backdate = 10 * time.Minute
	maxSANs  = 100
)

// CFREE marks its extensions non-critical, unlike the standard library, so
// they are encoded here.
var (
	// CA:FALSE
	extNoCA = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{asn1.TagSequence | 0x20, 0}}
	// digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment, keyAgreement
	extUsageRSA = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{asn1.TagBitString, 2, 3, 0b1111_1000}}
	// An ECDSA key enciphers nothing (RFC 8813 section 3).
	extUsageECDSA = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{asn1.TagBitString, 2, 3, 0b1100_1000}}
)

// signAlgorithms are the ones that prove possession of a key today.
var signAlgorithms = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
}

// sign is POST /sign/<user>/pkcs10.
func (ca *CA) sign(r *http.Request, args []string) (any, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	_, password := body["passwd"]
	_, request := body["certificate"]
	if !password || !request {
		return nil, badRequest("Missing parameter. Expected: passwd and certificate")
	}
	m := members{body: body}
	passwd, certificate := m.text("passwd", ""), m.text("certificate", "")
	if m.err != nil {
		return nil, m.err
	}
	for {
		der, err := ca.issue(r.Context(), args[0], passwd, certificate)
		if errors.Is(err, errEntityChanged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return map[string]any{"status": map[string]string{"data": base64Lines(der), "responseType": "CERTIFICATE"}}, nil
	}
}

// errEntityChanged says that the end entity was edited between the checks and
// the storing of the certificate, which is then forgotten.
var errEntityChanged = errors.New("the end entity changed")

// issue checks a request in the order of the original, except for its key and
// its names, which parseRequest does, makes the certificate and stores it. No
// certificate leaves it that isn't stored. The signature is made outside of the
// transactions, so that requests don't wait for each other's.
func (ca *CA) issue(ctx context.Context, user, password, request string) (der []byte, err error) {
	e, a, err := ca.enrolling(user)
	if err != nil {
		return nil, err
	}
	if e.TokenType != tokenUserGenerated {
		return nil, soapFault("Error: Wrong Token Type of user, must be 'USERGENERATED' for PKCS10/SPKAC/CRMF/CVC requests")
	}
	csr, err := parseRequest(request, ca.ecdsa)
	if err != nil {
		return nil, err
	}
	switch e.Status {
	case statusNew, statusFailed, statusInProcess, statusKeyRecovery:
	default:
		if ca.reset {
			break // without making it NEW first, which a wrong password did, too
		}
		return nil, soapFault("Got request with status %s (%d), NEW, FAILED or INPROCESS required: %s.", statusNames[e.Status], e.Status, user)
	}
	if !ca.passwords.matches(e.Password, password) {
		return nil, soapFault("Got request for user with invalid password: %s.", user)
	}
	if ca.hasSubject(e.SubjectDN) { // a CA that was made after the end entity
		return nil, soapFault("Illegal subject DN: %s is a CA's.", e.SubjectDN)
	}
	err = ca.db.View(func(tx *bbolt.Tx) error { return checkUnique(tx, e, csr) })
	if err != nil {
		return nil, err
	}
	var cert issued
	err = ca.writes.DoPrepared(ctx, func() (w write, err error) {
		cert, err = ca.certify(ctx, a, e, csr)
		return func(tx *bbolt.Tx) error { return storeCertificate(tx, a, e, csr, cert) }, err
	})
	if err != nil {
		return nil, err
	}
	ca.log.Info("certificate issued", "ca", a.name, "user", user, "subject", e.SubjectDN, "serial", cert.serial.Text(16), "notAfter", cert.notAfter)
	return cert.der, nil
}

// enrolling returns the end entity that wants a certificate, and the CA that
// is to make it.
func (ca *CA) enrolling(user string) (e entity, a *authority, err error) {
	err = ca.db.View(func(tx *bbolt.Tx) error {
		var found bool
		var err error
		e, found, err = getEntity(tx, user)
		switch {
		case err != nil:
			return err
		case !found && ca.reset:
			return badRequest("User not found to renew..") // sic
		case !found:
			return errWrongUser
		}
		if a = ca.byName(e.CAName); a == nil {
			return fmt.Errorf("user %q is of CA %q, which isn't there", user, e.CAName)
		}
		return a.checkInForce(tx)
	})
	return e, a, err
}

// checkInForce refuses to sign for a CA when it, or one above it, is revoked.
func (a *authority) checkInForce(tx *bbolt.Tx) error {
	for ; a.parent != nil; a = a.parent {
		if _, revoked, err := a.parent.revocation(tx, a.cert.SerialNumber.Bytes()); err != nil {
			return err
		} else if revoked {
			return soapFault("CA with name %s is revoked.", a.name)
		}
	}
	return nil
}

// parseRequest reads a PKCS#10 request in base64, with line breaks or armour
// or without, and checks its key, RSA or perhaps ECDSA, and that its sender
// holds it.
func parseRequest(text string, ecdsaToo bool) (*x509.CertificateRequest, error) {
	var der []byte
	if block, rest := pem.Decode([]byte(text)); block != nil {
		if !strings.HasSuffix(block.Type, "CERTIFICATE REQUEST") || len(bytes.TrimSpace(rest)) > 0 {
			return nil, soapFault("Illegal request: PEM of %q, one CERTIFICATE REQUEST expected", block.Type)
		}
		der = block.Bytes
	} else {
		var err error
		der, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			return nil, soapFault("Illegal request: %v", err)
		}
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, soapFault("Illegal request: %v", err)
	}
	// The key comes first: checking a signature with one of any size would
	// cost any time.
	switch key := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
			return nil, soapFault("Illegal key length: %d.", bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Params().BitSize; !ecdsaToo || bits != p256Bits {
			return nil, soapFault("Illegal key length: %d.", bits)
		}
	default:
		return nil, soapFault("Unsupported public key (%v), only RSA and ECDSA keys are supported.", csr.PublicKeyAlgorithm)
	}
	if !slices.Contains(signAlgorithms, csr.SignatureAlgorithm) {
		return nil, soapFault("Unsupported signature algorithm (%v), SHA-256 or better expected.", csr.SignatureAlgorithm)
	}
	if csr.CheckSignature() != nil {
		return nil, soapFault("POPO verification failed.")
	}
	if n := len(csr.DNSNames) + len(csr.IPAddresses); n > maxSANs {
		return nil, soapFault("Illegal subjectAltName: %d names, at most %d expected.", n, maxSANs)
	}
	for _, name := range csr.DNSNames {
		if !isDNSName(name) {
			return nil, soapFault("Illegal subjectAltName: %q is no DNS name.", name)
		}
	}
	return csr, nil
}

// isDNSName accepts host names, the underscore that container networks use,
// and a wildcard as the first label.
func isDNSName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(s, "*."), ".") {
		ok := len(label) > 0 && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-'
		for i := 0; i < len(label) && ok; i++ {
			c := label[i]
			ok = c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		}
		if !ok {
			return false
		}
	}
	return true
}

func keyHash(csr *x509.CertificateRequest) []byte {
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return sum[:]
}

// checkUnique enforces EJBCA's defaults: a subject and a key belong to one
// user each.
func checkUnique(tx *bbolt.Tx, e entity, csr *x509.CertificateRequest) error {
	if other := tx.Bucket(bucketSubjects).Get([]byte(e.SubjectDN)); other != nil && string(other) != e.Username {
		return soapFault("User '%s' is not allowed to use same subject DN as the user(s) '%s' is/are using (even if CN postfix is used). See setting for 'Enforce unique DN' in the section Certification Authorities.", e.Username, other)
	}
	if other := tx.Bucket(bucketKeys).Get(keyHash(csr)); other != nil && string(other) != e.Username {
		return soapFault("User '%s' is not allowed to use same key as another user is using.", e.Username)
	}
	return nil
}

// certify makes a certificate, as many at a time as there are processors: if
// all were made at once, they would end together, and leave the processors
// idle while they are written to disk.
func (ca *CA) certify(ctx context.Context, a *authority, e entity, csr *x509.CertificateRequest) (issued, error) {
	select {
	case ca.signing <- struct{}{}:
		defer func() { <-ca.signing }()
	case <-ctx.Done():
		return issued{}, ctx.Err()
	}
	// Requests that are there come before the long computation, so that the
	// transaction to be knows of them, and answers that are ready.
	runtime.Gosched()
	return a.certify(e, csr, ca.now())
}

// issued is a certificate and what the CA needs to know of it.
type issued struct {
	serial   *big.Int
	notAfter time.Time
	der      []byte
}

// certify makes the certificate that profile CFREE allows.
func (a *authority) certify(e entity, csr *x509.CertificateRequest, now time.Time) (issued, error) {
	if err := a.checkPeriod(now); err != nil {
		return issued{}, soapFault("%v.", err)
	}
	dn, err := parseDN(e.SubjectDN)
	if err != nil {
		return issued{}, err
	}
	subject, err := encodeDN(dn)
	if err != nil {
		return issued{}, err
	}
	serial, err := newSerial()
	if err != nil {
		return issued{}, err
	}
	notBefore := now.UTC().Truncate(time.Second).Add(-backdate)
	notAfter := notBefore.Add(lifetime)
	if notAfter.After(a.cert.NotAfter) {
		notAfter = a.cert.NotAfter
	}
	usage := extUsageRSA
	if _, ok := csr.PublicKey.(*ecdsa.PublicKey); ok {
		usage = extUsageECDSA
	}
	template := &x509.Certificate{
		SerialNumber:       serial,
		RawSubject:         subject,
		NotBefore:          notBefore,
		NotAfter:           notAfter,
		SignatureAlgorithm: a.signatureAlgorithm(),
		SubjectKeyId:       keyID(csr.RawSubjectPublicKeyInfo),
		DNSNames:           csr.DNSNames,
		IPAddresses:        csr.IPAddresses,
		ExtraExtensions:    []pkix.Extension{usage, extNoCA},
	}
	// This also checks the signature that it made.
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, csr.PublicKey, a.key)
	return issued{serial, notAfter, der}, err
}

// storeCertificate makes the certificate count, if the end entity and the CA
// are still as they were checked.
func storeCertificate(tx *bbolt.Tx, a *authority, e entity, csr *x509.CertificateRequest, cert issued) error {
	users, user := tx.Bucket(bucketUsers), []byte(e.Username)
	if !bytes.Equal(users.Get(user), e.stored) {
		return errEntityChanged
	}
	if err := a.checkInForce(tx); err != nil {
		return err
	}
	if err := checkUnique(tx, e, csr); err != nil {
		return err
	}
	serial := cert.serial.Bytes()
	certs := a.bucket(tx, bucketCerts)
	if certs.Get(serial) != nil {
		return errors.New("serial number drawn twice") // 2⁻¹²⁷, or a broken random source
	}
	e.Status = statusGenerated
	return errors.Join(
		certs.Put(serial, cert.der),
		tx.Bucket(bucketOwned).Put(ownedKey(e.Username, serial), []byte(a.name)),
		tx.Bucket(bucketKeys).Put(keyHash(csr), user),
		tx.Bucket(bucketSubjects).Put([]byte(e.SubjectDN), user),
		putJSON(users, user, e),
	)
}

// getCertificate is GET /ca/<issuer DN>/certificate/<serial>.
func (ca *CA) getCertificate(_ *http.Request, args []string) (any, error) {
	a, serial, err := ca.certificateOf(args)
	if err != nil {
		return nil, err
	}
	var answer shownCertificate
	err = ca.db.View(func(tx *bbolt.Tx) error {
		der := a.bucket(tx, bucketCerts).Get(serial.Bytes())
		if der == nil {
			return errNoCertificates
		}
		answer.Data = base64Lines(der)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]shownCertificate{"certificate": answer}, nil
}

// findCertificates is GET /user/<user>/find: the user's certificates, without
// revoked and expired ones unless valid says something else than true.
func (ca *CA) findCertificates(r *http.Request, args []string) (any, error) {
	query := r.URL.Query()
	all := query.Has("valid") && !isTrue(query.Get("valid"))
	now := ca.now()
	var found []shownCertificate
	err := ca.db.View(func(tx *bbolt.Tx) error {
		certs, err := ca.ownedBy(tx, args[0])
		if err != nil {
			return err
		}
		for _, c := range certs {
			cert, err := x509.ParseCertificate(c.issuer.bucket(tx, bucketCerts).Get(c.serial))
			if err != nil {
				return err
			}
			_, revoked, err := c.issuer.revocation(tx, c.serial)
			if err != nil {
				return err
			}
			if all || !revoked && !now.After(cert.NotAfter) {
				found = append(found, shownCertificate{Data: base64Lines(cert.Raw)})
			}
		}
		return nil
	})
	if err == nil && len(found) == 0 {
		err = errNoCertificates
	}
	if err != nil {
		return nil, err
	}
	return map[string][]shownCertificate{"certs": found}, nil
}

// shownCertificate is EJBCA's CertificateResponse as it comes through SOAP.
type shownCertificate struct {
	Certificate *string `json:"certificate"`
	KeyStore    *string `json:"keyStore"`
	Type        int     `json:"type"`
	Data        string  `json:"certificateData"`
}

// base64Lines is base64 in lines of 64 characters, the way that EJBCA shows
// certificates: PEM without its armour.
func base64Lines(der []byte) string {
	text := base64.StdEncoding.EncodeToString(der)
	var b strings.Builder
	b.Grow(len(text) + len(text)/64)
	for len(text) > 64 {
		b.WriteString(text[:64])
		b.WriteByte('\n')
		text = text[64:]
	}
	b.WriteString(text)
	return b.String()
}
