package crl_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// issue signs a certificate that is valid now, changed by mutate, and returns
// it with the certificates of the CAs between.
func (ca *testCA) issue(t testing.TB, key crypto.Signer, mutate func(*x509.Certificate), between ...*testCA) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(5),
		Subject:      pkix.Name{CommonName: "8fa3"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if mutate != nil {
		mutate(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{der}
	for _, c := range between {
		chain = append(chain, c.cert.Raw)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key}
}

// below makes a CA that ca signed.
func (ca *testCA) below(t testing.TB, name string, mutate func(*x509.Certificate)) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := ca.issue(t, key, func(c *x509.Certificate) {
		c.SerialNumber = big.NewInt(7)
		c.Subject.CommonName = name
		c.BasicConstraintsValid, c.IsCA = true, true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		if mutate != nil {
			mutate(c)
		}
	})
	return &testCA{parseDERCert(t, c.Certificate[0]), key}
}

func parseDERCert(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// alertOf is what the comments of the errors promise for a single fault.
func alertOf(err error) uint8 {
	for _, a := range []struct {
		err   error
		alert uint8
	}{
		{crl.ErrNoCertificate, tlsalert.HandshakeFailure},
		{crl.ErrRevoked, tlsalert.CertificateRevoked},
		{crl.ErrUntrusted, tlsalert.UnknownCA},
		{crl.ErrForged, tlsalert.DecryptError},
		{crl.ErrCertificateExpired, tlsalert.CertificateExpired},
		{crl.ErrCertificateNotYetValid, tlsalert.BadCertificate},
		{crl.ErrPurpose, tlsalert.UnsupportedCertificate},
		{crl.ErrWeak, tlsalert.BadCertificate},
		{crl.ErrUnsupported, tlsalert.CertificateUnknown},
	} {
		if errors.Is(err, a.err) {
			return a.alert
		}
	}
	return alertFor(err)
}

func mustKey[K crypto.Signer](key K, err error) K {
	if err != nil {
		panic(err)
	}
	return key
}

// TestAcceptsAsBroker asks a real broker about clients and lists of all
// sorts, and compares.
func TestAcceptsAsBroker(t *testing.T) {
	dir := brokerDir(t)
	path := filepath.Join(dir, "ca.crl")
	now := time.Now().Add(-time.Minute)
	root, other := midCA(), mqttCA()
	inter := root.below(t, "PROTOCOL", nil)
	deep := inter.below(t, "COAP", nil)
	unlisted := root.below(t, "UNLISTED", nil)
	expired := root.below(t, "OLD", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-48*time.Hour), now.Add(-24*time.Hour) })
	noDeeper := root.below(t, "FLAT", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	tooDeep := noDeeper.below(t, "DEEP", nil)
	notCA := root.below(t, "8fa4", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	otherKey := *other.cert
	otherKey.PublicKey = nil // so that it isn't compared
	forged := &testCA{&otherKey, mustKey(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	// The root's list revokes 66, and 7, which is every CA below it.
	lists := []*x509.RevocationList{
		root.list(t, 1, now, 66, 7), other.list(t, 1, now), inter.list(t, 1, now), deep.list(t, 1, now),
		expired.list(t, 1, now), tooDeep.list(t, 1, now),
	}
	cas := []*x509.Certificate{root.cert, other.cert}
	key := mustKey(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	eku := func(usages ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
	}
	dates := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(from), now.Add(to) }
	}

	write(t, path, crl.EncodePEM(lists...))
	broker, err := startBroker(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	ask := func(t *testing.T, lists []*x509.RevocationList, client tls.Certificate) error {
		t.Helper()
		var chain []*x509.Certificate
		for _, der := range client.Certificate {
			chain = append(chain, parseDERCert(t, der))
		}
		verdict := crl.Accepts(lists, cas, chain, time.Now())
		if got, want := knock(t, broker, client), alertOf(verdict); got != want {
			t.Errorf("broker: alert %d, want %d, as Accepts: %v", got, want, verdict)
		}
		return verdict
	}

	for _, tc := range []struct {
		name   string
		client tls.Certificate
		want   error
	}{
		{"innocent", root.issue(t, key, nil), nil},
		{"of the other root", other.issue(t, key, nil), nil},
		{"of an intermediate that the root revoked", inter.issue(t, key, nil, inter), nil},
		{"of the second intermediate", deep.issue(t, key, nil, deep, inter), nil},
		{"intermediates in another order", deep.issue(t, key, nil, inter, deep), nil},
		{"serial that another CA revoked", inter.issue(t, key, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(66) }, inter), nil},
		{"usage for clients", root.issue(t, key, eku(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)), nil},
		{"no key usage", root.issue(t, key, func(c *x509.Certificate) { c.KeyUsage = 0 }), nil},
		{"a CA", tls.Certificate{Certificate: [][]byte{unlisted.cert.Raw}, PrivateKey: unlisted.key}, crl.ErrPurpose},
		{"a CA that may also sign", root.issue(t, key, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), nil},
		{"the root itself", tls.Certificate{Certificate: [][]byte{root.cert.Raw}, PrivateKey: root.key}, crl.ErrPurpose},

		{"none", tls.Certificate{}, crl.ErrNoCertificate},
		{"revoked", root.issue(t, key, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(66) }), crl.ErrRevoked},
		{"revoked and expired", root.issue(t, key, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(66); dates(-2*time.Hour, -time.Hour)(c) }), crl.ErrRevoked},
		{"expired", root.issue(t, key, dates(-2*time.Hour, -time.Hour)), crl.ErrCertificateExpired},
		{"not yet valid", root.issue(t, key, dates(time.Hour, 2*time.Hour)), crl.ErrCertificateNotYetValid},
		{"of an expired intermediate", expired.issue(t, key, nil, expired), crl.ErrCertificateExpired},
		{"usage for servers", root.issue(t, key, eku(x509.ExtKeyUsageServerAuth)), crl.ErrPurpose},
		{"any usage", root.issue(t, key, eku(x509.ExtKeyUsageAny)), crl.ErrPurpose},
		{"usage for servers and revoked", root.issue(t, key, func(c *x509.Certificate) {
			c.SerialNumber = big.NewInt(66)
			eku(x509.ExtKeyUsageServerAuth)(c)
		}), crl.ErrPurpose},
		{"key for encipherment", root.issue(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), crl.ErrPurpose},
		{"RSA of 1024 bits", root.issue(t, mustKey(rsa.GenerateKey(rand.Reader, 1024)), nil), crl.ErrWeak},
		{"SHA-1", root.issue(t, key, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }), crl.ErrWeak},
		{"unknown critical extension", root.issue(t, key, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{ext(oidNobody, true, "\x05\x00")}
		}), crl.ErrUnsupported},
		{"unknown CA", newCA("COAP2").issue(t, key, nil), crl.ErrUntrusted},
		{"rebuilt CA", rebuiltCA().issue(t, key, nil), crl.ErrUntrusted},
		{"forged", forged.issue(t, key, nil), crl.ErrForged},
		{"intermediate not presented", inter.issue(t, key, nil), crl.ErrUntrusted},
		{"of a certificate that is no CA", notCA.issue(t, key, nil, notCA), crl.ErrUntrusted},
		{"too deep", tooDeep.issue(t, key, nil, tooDeep, noDeeper), crl.ErrUntrusted},
		{"signed by itself", selfSigned(t, key), crl.ErrUntrusted},
		{"no list of its intermediate", unlisted.issue(t, key, nil, unlisted), crl.ErrMissing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := ask(t, lists, tc.client); !errors.Is(err, tc.want) {
				t.Errorf("Accepts: got %v, want %v", err, tc.want)
			}
		})
	}

	t.Run("none, by TLS 1.3", func(t *testing.T) {
		roots := x509.NewCertPool()
		roots.AddCert(root.cert)
		conn, err := tls.Dial("tcp", broker.Addr(), &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The broker's verdict comes after the client's handshake has ended.
		if _, err = conn.Read(make([]byte, 1)); received(t, err) != tlsalert.CertificateRequired {
			t.Errorf("got %v, want certificate_required", err)
		}
	})

	reload := func(t *testing.T, lists ...*x509.RevocationList) {
		t.Helper()
		write(t, path, crl.EncodePEM(lists...))
		if err := broker.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	numbered := func(serial int64) tls.Certificate {
		return root.issue(t, key, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(serial) })
	}
	t.Run("only the intermediate's list", func(t *testing.T) {
		only := inter.list(t, 1, now)
		reload(t, only)
		for name, tc := range map[string]struct {
			client tls.Certificate
			want   error
		}{
			"of the intermediate": {inter.issue(t, key, nil, inter), nil},
			"of the root":         {numbered(5), crl.ErrMissing},
		} {
			if err := ask(t, []*x509.RevocationList{only}, tc.client); !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", name, err, tc.want)
			}
		}
	})
	older, newer := root.list(t, 1, now.Add(-time.Second), 66), root.list(t, 2, now, 67)
	for name, lists := range map[string][]*x509.RevocationList{"newer list last": {older, newer}, "newer list first": {newer, older}} {
		t.Run(name, func(t *testing.T) {
			reload(t, lists...)
			for serial, want := range map[int64]error{66: nil, 67: crl.ErrRevoked} {
				if err := ask(t, lists, numbered(serial)); !errors.Is(err, want) {
					t.Errorf("serial %d: got %v, want %v", serial, err, want)
				}
			}
		})
	}

	// Each list there is a test for, alone and beside a good one, with clients
	// that are on it and that are not.
	innocent, revoked := numbered(5), numbered(66)
	alsoCA := root.issue(t, key, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	pointed := root.issue(t, key, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://b/", "http://a/"} })
	good := parse(t, root.forge(now, nil))
	for _, tc := range flaws {
		if tc.mayRefuse {
			continue
		}
		bad := parse(t, tc.make(root, other, now.Add(time.Second)))
		for name, lists := range map[string][]*x509.RevocationList{tc.name: {bad}, tc.name + " beside a good one": {good, bad}} {
			t.Run(name, func(t *testing.T) {
				reload(t, lists...)
				for _, client := range []tls.Certificate{innocent, revoked, alsoCA, pointed} {
					_ = ask(t, lists, client)
				}
			})
		}
	}
}

func selfSigned(t testing.TB, key *ecdsa.PrivateKey) tls.Certificate {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "8fa3"}}
	return (&testCA{template, key}).issue(t, key, nil)
}

func TestAcceptsDelta(t *testing.T) {
	ca := midCA()
	delta := parse(t, ca.forge(t0, func(l *tbsCertList) { l.Extensions = append(l.Extensions, ext(oidDelta, true, "\x02\x01\x05")) }))
	leaf := parseDERCert(t, ca.leaf(t, 5, x509.ExtKeyUsageClientAuth).Certificate[0])
	lists := []*x509.RevocationList{ca.list(t, 1, t0), delta}
	if err := crl.Accepts(lists, []*x509.Certificate{ca.cert}, []*x509.Certificate{leaf}, t0); !errors.Is(err, crl.ErrDelta) {
		t.Errorf("got %v, want ErrDelta", err)
	}
}

func TestComplete(t *testing.T) {
	root, inter := midCA(), midCA().below(t, "PROTOCOL", nil)
	renewed := certify("IOTmidCA", root.key, 2)
	leaf := parseDERCert(t, root.leaf(t, 5, x509.ExtKeyUsageClientAuth).Certificate[0])
	now := t0.Add(25 * time.Hour)
	chain := []*x509.Certificate{leaf, inter.cert, root.cert, renewed.cert}
	rootList, interList := root.list(t, 2, now), inter.list(t, 1, now)
	expired := root.list(t, 1, t0)
	// Signed by another key under the root's name and key identifier, and later.
	forged := parse(t, (&testCA{root.cert, rebuiltCA().key}).forge(now.Add(time.Second), nil))
	type lists = []*x509.RevocationList
	for _, tc := range []struct {
		name  string
		lists lists
		want  error
		names string
	}{
		{"both", lists{rootList, interList}, nil, ""},
		{"and an expired one", lists{expired, interList, rootList}, nil, ""},
		{"and another CA's", lists{rootList, interList, mqttCA().list(t, 1, now)}, nil, ""},
		{"none", nil, crl.ErrMissing, "IOTmidCA"},
		{"root's missing", lists{interList}, crl.ErrMissing, "IOTmidCA"},
		{"intermediate's missing", lists{rootList}, crl.ErrMissing, "PROTOCOL"},
		{"root's expired", lists{interList, expired}, crl.ErrExpired, "IOTmidCA"},
		{"two of the root's", lists{interList, rootList, root.list(t, 3, now)}, crl.ErrDuplicate, "IOTmidCA"},
		{"a forged one would be chosen", lists{rootList, interList, forged}, crl.ErrSignature, "IOTmidCA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := crl.Complete(tc.lists, chain, now.Add(time.Minute))
			if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), "CN="+tc.names) {
				t.Errorf("got %v, want %v for %s", err, tc.want, tc.names)
			}
		})
	}
}
