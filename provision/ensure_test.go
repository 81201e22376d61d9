package provision_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/provision"
)

func newP256(t *testing.T) *provision.Identity {
	t.Helper()
	id := newIdentity(t)
	id.KeyType = provision.P256
	return id
}

func TestP256(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	if got := ensure(t, id, ca); got != allMade {
		t.Errorf("got %s, want %s", got, allMade)
	}
	if _, ok := leaf(t, id.Files).PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("the key is a %T", leaf(t, id.Files).PublicKey)
	}
	if _, err := provision.TLSConfig(id.Files); err != nil {
		t.Error(err)
	}
	// A key that is there stays, of whatever type it is.
	id.KeyType = provision.RSA
	if got := ensure(t, id, ca); !strings.Contains(got, "key kept") || !strings.Contains(got, "certificate kept") {
		t.Errorf("for RSA: %s", got)
	}
}

// dojot's profile takes no ECDSA keys, and what is in service survives that.
func TestP256AtCFREE(t *testing.T) {
	_, ca := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, ca)
	before := snapshot(t, id.Files)
	id.KeyType, id.Overwrite = provision.P256, true
	_, err := id.Ensure(t.Context(), ca)
	var step *provision.StepError
	if !errors.As(err, &step) || step.Step != provision.StepCert || step.Path != id.Files.Cert || !strings.Contains(err.Error(), "key") {
		t.Errorf("got %v, want what the CA says about the key, and the step", err)
	}
	if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
}

func TestKeyType(t *testing.T) {
	for _, typ := range []provision.KeyType{provision.RSA, provision.P256} {
		if got, err := provision.ParseKeyType(typ.String()); got != typ || err != nil {
			t.Errorf("%v: got %v, %v", typ, got, err)
		}
	}
	if _, err := provision.ParseKeyType("dsa"); err == nil {
		t.Error("dsa is a key type")
	}
}

// Cut at any step, a first run is taken up with what there is by then.
func TestResumesAtEachStep(t *testing.T) {
	for step, name := range []string{"CA", "key", "request", "certificate", "revocation list"} {
		t.Run(name, func(t *testing.T) {
			ca := newTestCA(t, "IOTmidCA")
			id := newP256(t)
			done := 0
			id.Report = func(provision.Step) {
				if done++; done > step {
					panic("cut")
				}
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Fatal("it was not cut")
					}
				}()
				id.Ensure(t.Context(), ca)
			}()
			id.Report = nil
			want := strings.Join(append(strings.Split(allKept, ", ")[:step+1], strings.Split(allMade, ", ")[step+1:]...), ", ")
			// The CA makes a new list each time that it is asked.
			want = strings.Replace(want, "CRL kept", "CRL made", 1)
			if got := ensure(t, id, ca); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if _, err := provision.TLSConfig(id.Files); err != nil {
				t.Error(err)
			}
			if ca.signed != 1 {
				t.Errorf("%d certificates were made for one", ca.signed)
			}
		})
	}
}

// A certificate on the CA's list is replaced, and its key with it: it may be
// why.
func TestRevoked(t *testing.T) {
	server, ca := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, ca)
	key := read(t, id.Files.Key)
	cert := leaf(t, id.Files)
	if err := server.Client().Revoke(t.Context(), server.Root(), cert.SerialNumber, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := ensure(t, id, ca), "CA kept, key made, CSR made, certificate made, CRL made"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if read(t, id.Files.Key) == key || leaf(t, id.Files).SerialNumber.Cmp(cert.SerialNumber) == 0 {
		t.Error("the revoked certificate, or its key, is still there")
	}
	if got := ensure(t, id, ca); got != allKept {
		t.Errorf("again: %s, want %s", got, allKept)
	}
}

// Whatever else is to be mended: a key whose certificate was revoked is not
// certified again.
func TestRevokedAndMore(t *testing.T) {
	for name, more := range map[string]func(id *provision.Identity, ca *testCA) *testCA{
		"other names": func(id *provision.Identity, ca *testCA) *testCA {
			id.DNSNames = append(id.DNSNames, "new.local")
			return ca
		},
		"expired": func(id *provision.Identity, ca *testCA) *testCA {
			id.Now = func() time.Time { return time.Now().Add(31 * 24 * time.Hour) }
			ca.edit = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(60 * 24 * time.Hour) }
			ca.editList = func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(60 * 24 * time.Hour) }
			return ca
		},
		"a rebuilt CA": func(*provision.Identity, *testCA) *testCA { return newTestCA(t, "IOTmidCA") },
	} {
		t.Run(name, func(t *testing.T) {
			ca := newTestCA(t, "IOTmidCA")
			id := newP256(t)
			ensure(t, id, ca)
			ca.revoke(leaf(t, id.Files))
			if _, err := id.Ensure(t.Context(), stubbornCA{ca}); err == nil { // but the list is there now
				t.Fatal("want an error")
			}
			key := read(t, id.Files.Key)
			ensure(t, id, more(id, ca))
			if read(t, id.Files.Key) == key {
				t.Error("the old key is still there")
			}
		})
	}
}

// A CA may give a device one certificate and no more. If its answer is lost,
// or finds no room, the next call asks with the same key.
func TestInterruptedSigning(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	ensure(t, id, ca)
	before := snapshot(t, id.Files)
	id.Overwrite = true
	lossy := &lossyCA{testCA: ca, lost: 2}
	for range lossy.lost {
		if _, err := id.Ensure(t.Context(), lossy); err == nil {
			t.Fatal("want an error")
		}
		if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
			t.Fatalf("files in service changed (-before +after):\n%s", diff)
		}
	}
	ensure(t, id, lossy)
	if len(lossy.asked) != 1 || !lossy.asked[0].Equal(leaf(t, id.Files).PublicKey) {
		t.Errorf("asked with %d keys, want one, which is in service", len(lossy.asked))
	}
	if _, err := id.Files.KeyPair(); err != nil {
		t.Error(err)
	}
	// One of another type is not what is asked for now.
	lossy.lost, lossy.asked = 1, nil
	if _, err := id.Ensure(t.Context(), lossy); err == nil {
		t.Fatal("want an error")
	}
	id.KeyType = provision.RSA
	ensure(t, id, lossy)
	if _, ok := leaf(t, id.Files).PublicKey.(*rsa.PublicKey); !ok || len(lossy.asked) != 2 {
		t.Errorf("there is a certificate for %T, asked with %d keys", leaf(t, id.Files).PublicKey, len(lossy.asked))
	}
	// And none is wanted any more.
	lossy.lost = 1
	if _, err := id.Ensure(t.Context(), lossy); err == nil {
		t.Fatal("want an error")
	}
	id.Overwrite = false
	ensure(t, id, lossy)
	if rest, err := filepath.Glob(filepath.Join(filepath.Dir(id.Files.Key), "*.next*")); err != nil || len(rest) > 0 {
		t.Errorf("left behind: %q, %v", rest, err)
	}
}

// What is left of an interrupted run comes into service as this one wants it.
func TestInterruptedSigningWithOtherModes(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	ensure(t, id, ca)
	id.Overwrite = true
	id.KeyMode, id.CertMode = 0o640, 0o604
	lossy := &lossyCA{testCA: ca, lost: 1}
	if _, err := id.Ensure(t.Context(), lossy); err == nil {
		t.Fatal("want an error")
	}
	id.KeyMode, id.CertMode = 0, 0
	ensure(t, id, lossy)
	for path, want := range map[string]fs.FileMode{id.Files.Key: 0o600, id.Files.CSR: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if len(lossy.asked) != 1 {
		t.Errorf("asked with %d keys, want one", len(lossy.asked))
	}
}

// A key that is in service is not what replaces it, nor is one that cannot be
// read just now replaced.
func TestPendingKeysThatAreNone(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	ensure(t, id, ca)
	id.Overwrite = true
	key, next := read(t, id.Files.Key), id.Files.Key+".next"
	write(t, next, key)
	ensure(t, id, ca)
	if read(t, id.Files.Key) == key {
		t.Error("the old key is still there")
	}
	if err := os.Symlink(next, next); err != nil { // to itself, for a read that fails
		t.Fatal(err)
	}
	before := snapshot(t, id.Files)
	if _, err := id.Ensure(t.Context(), ca); err == nil || !strings.Contains(err.Error(), next) {
		t.Errorf("got %v, want an error of %s", err, next)
	}
	if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
	if _, err := os.Lstat(next); err != nil {
		t.Error("it was discarded")
	}
}

// lossyCA signs, but of its next answers some are lost.
type lossyCA struct {
	*testCA
	lost  int
	asked []interface{ Equal(crypto.PublicKey) bool } // with which keys
}

func (ca *lossyCA) Sign(ctx context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	key := csr.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if n := len(ca.asked); n == 0 || !ca.asked[n-1].Equal(csr.PublicKey) {
		ca.asked = append(ca.asked, key)
	}
	certs, err := ca.testCA.Sign(ctx, csr)
	if ca.lost > 0 {
		ca.lost--
		return nil, io.ErrUnexpectedEOF
	}
	return certs, err
}

// An end entity that may not enrol again keeps what it has.
func TestRevokedAndRefused(t *testing.T) {
	server, ca := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, ca)
	before := snapshot(t, id.Files)
	if err := server.Client().RevokeUser(t.Context(), "24f6", 0); err != nil {
		t.Fatal(err)
	}
	ca.Register, ca.Password = false, "dojot"
	if _, err := id.Ensure(t.Context(), ca); !errors.Is(err, ejbca.ErrDenied) && !errors.Is(err, ejbca.ErrGenerated) {
		t.Errorf("got %v, want a refusal", err)
	}
	if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
}

type listless struct {
	*testCA
	list *x509.RevocationList
}

func (c listless) CRL(context.Context) (*x509.RevocationList, error) {
	if c.list == nil {
		return nil, errors.New("no list today")
	}
	return c.list, nil
}

// unread is a CA whose lists come without their entries, but for Raw.
type unread struct{ *testCA }

func (c unread) CRL(ctx context.Context) (*x509.RevocationList, error) {
	list, err := c.testCA.CRL(ctx)
	if err == nil {
		list.RevokedCertificateEntries = nil
	}
	return list, err
}

func TestRevokedByAListWithUnreadEntries(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	ensure(t, id, ca)
	ca.revoke(leaf(t, id.Files))
	if got, want := ensure(t, id, unread{ca}), "CA kept, key made, CSR made, certificate made, CRL made"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRevocationList(t *testing.T) {
	ca, stranger := newTestCA(t, "IOTmidCA"), newTestCA(t, "IOTmidCA")
	list := func(ca *testCA, edit func(*x509.RevocationList)) *x509.RevocationList {
		ca.editList = edit
		defer func() { ca.editList = nil }()
		l, err := ca.CRL(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first, second := list(ca, nil), list(ca, nil)
	over := list(ca, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Second) })
	ahead := list(ca, func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	})
	for _, tc := range []struct {
		name        string
		there, from *x509.RevocationList
		want        *x509.RevocationList // nil: an error of that step
		words       string               // of that error, or of the reason to keep the one there
	}{
		{"a newer one", first, second, second, ""},
		{"the same one", first, first, first, ""},
		{"an older one never replaces a newer", second, first, second, "the CA's list is older than the one there"},
		{"one that has expired", first, over, first, "the CA's list: it has expired"},
		{"one from the future", first, ahead, first, "the CA's list: it begins at"},
		{"one of another CA", first, list(stranger, nil), first, "the CA's list: it is not of the CA"},
		{"none", first, nil, first, "asking the CA: no list today"},
		{"none, and the one there has expired", over, nil, nil, "asking the CA: no list today"},
		{"an older one, and the one there has expired", over, first, nil, "older than the one there"},
		{"none, and none there", nil, nil, nil, "asking the CA: no list today"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := newP256(t)
			ensure(t, id, listless{ca, second})
			remove(t, id.Files.CRL)
			if tc.there != nil {
				write(t, id.Files.CRL, encodeCRL(tc.there))
			}
			steps, err := id.Ensure(t.Context(), listless{ca, tc.from})
			if tc.want == nil {
				var step *provision.StepError
				if !errors.As(err, &step) || step.Step != provision.StepCRL || step.Path != id.Files.CRL || !strings.Contains(err.Error(), tc.words) {
					t.Fatalf("got %v, want an error of the list, with %q", err, tc.words)
				}
				return
			}
			if last := steps[len(steps)-1]; last.Action == provision.Kept && (last.Reason == "") != (tc.words == "") || !strings.Contains(last.Reason, tc.words) {
				t.Errorf("the list was %s, because %q, want %q", last.Action, last.Reason, tc.words)
			}
			if err != nil {
				t.Fatal(err)
			}
			if read(t, id.Files.CRL) != encodeCRL(tc.want) {
				t.Error("another list is there")
			}
		})
	}
}

// A CA dates what it makes while it is asked, later than Ensure began.
func TestMadeWhileAsked(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	now := time.Now()
	id.Now = func() time.Time { return now }
	ca.edit = func(c *x509.Certificate) {
		now = now.Add(2 * time.Second)
		c.NotBefore = now
	}
	ca.editList = func(l *x509.RevocationList) {
		now = now.Add(2 * time.Second)
		l.ThisUpdate = now
	}
	ensure(t, id, ca)
	serial := leaf(t, id.Files).SerialNumber
	ca.revoke(leaf(t, id.Files))
	if got, want := ensure(t, id, ca), "CA kept, key made, CSR made, certificate made, CRL made"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if leaf(t, id.Files).SerialNumber.Cmp(serial) == 0 {
		t.Error("the revoked certificate is still there")
	}
}

// What an expired list revokes stays revoked, even if the CA does not answer.
func TestRevokedByTheListOnDisk(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	ensure(t, id, ca)
	ca.revoke(leaf(t, id.Files))
	ca.editList = func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Second) }
	old, err := ca.CRL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, id.Files.CRL, encodeCRL(old))
	steps, err := id.Plan()
	if err != nil || steps[1].Action != provision.Made || !strings.Contains(steps[3].Reason, "revoked") {
		t.Errorf("the plan is %v, %v", steps, err)
	}
	serial := leaf(t, id.Files).SerialNumber
	if _, err := id.Ensure(t.Context(), listless{ca, nil}); err == nil {
		t.Error("want an error about the list")
	}
	if leaf(t, id.Files).SerialNumber.Cmp(serial) == 0 {
		t.Error("the revoked certificate is still there")
	}
}

func TestPlan(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	plan := func() string {
		t.Helper()
		steps, err := id.Plan()
		if err != nil {
			t.Fatal(err)
		}
		var did []string
		for _, s := range steps {
			did = append(did, filepath.Ext(s.Path)+" "+string(s.Action))
		}
		return strings.Join(did, " ")
	}
	if got, want := plan(), ".crt made .key made .csr made .crt made .crl made"; got != want {
		t.Errorf("nothing there: %s, want %s", got, want)
	}
	if _, err := os.Stat(filepath.Dir(id.Files.Key)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a plan made something: %v", err)
	}
	ensure(t, id, ca)
	if got, want := plan(), ".crt kept .key kept .csr kept .crt kept .crl kept"; got != want {
		t.Errorf("all there: %s, want %s", got, want)
	}
	write(t, id.Files.CA+".away", read(t, id.Files.CA))
	remove(t, id.Files.CA)
	if got, want := plan(), ".crt made .key kept .csr kept .crt made .crl made"; got != want {
		t.Errorf("no CA: %s, want %s", got, want)
	}
	write(t, id.Files.CA, read(t, id.Files.CA+".away"))
	id.Overwrite = true
	if got, want := plan(), ".crt made .key made .csr made .crt made .crl kept"; got != want {
		t.Errorf("all anew: %s, want %s", got, want)
	}
	id.Overwrite, id.CommonName = false, "other"
	if got, want := plan(), ".crt kept .key kept .csr made .crt made .crl kept"; got != want {
		t.Errorf("another name: %s, want %s", got, want)
	}
}

// Certificates that are issued together are not renewed together.
// A device that cannot get another certificate still learns what is revoked.
func TestListWithoutCertificate(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	ensure(t, id, ca)
	old := read(t, id.Files.CRL)
	id.DNSNames = append(id.DNSNames, "other.local")
	stubborn := stubbornCA{ca}
	_, err := id.Ensure(t.Context(), stubborn)
	if step, ok := errors.AsType[*provision.StepError](err); !ok || step.Step != provision.StepCert {
		t.Errorf("got %v, want a StepError of the certificate", err)
	}
	if read(t, id.Files.CRL) == old {
		t.Error("the list is the old one")
	}
	// But not that of a CA whose certificate is not in service.
	old = read(t, id.Files.CRL)
	if _, err := id.Ensure(t.Context(), stubbornCA{newTestCA(t, "IOTmidCA")}); err == nil {
		t.Error("no error")
	}
	if read(t, id.Files.CRL) != old {
		t.Error("the list is of another CA")
	}
}

// stubbornCA signs nothing any more.
type stubbornCA struct{ *testCA }

func (stubbornCA) Sign(context.Context, *x509.CertificateRequest) ([]*x509.Certificate, error) {
	return nil, errors.New("no")
}

func TestExpiredCA(t *testing.T) {
	id := newP256(t)
	id.Now = func() time.Time { return time.Now().AddDate(11, 0, 0) }
	_, err := id.Ensure(t.Context(), newTestCA(t, "IOTmidCA"))
	step, ok := errors.AsType[*provision.StepError](err)
	if !ok || step.Step != provision.StepCA || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v, want a StepError that says that the CA has expired", err)
	}
	if _, err := os.Stat(id.Files.CA); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file was written: %v", err)
	}
}

func TestRenewalIsSpread(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA") // 30 days and an hour
	const fleet = 20
	due := func(id *provision.Identity) bool {
		steps, err := id.Plan()
		if err != nil {
			t.Fatal(err)
		}
		return steps[3].Action == provision.Made
	}
	var ids []*provision.Identity
	for range fleet {
		id := newP256(t)
		ensure(t, id, ca)
		ids = append(ids, id)
	}
	count := func(after time.Duration) (n int) {
		for _, id := range ids {
			id.Now = func() time.Time { return time.Now().Add(after) }
			if due(id) {
				n++
			}
		}
		return n
	}
	const day = 24 * time.Hour
	if n := count(18*day + 12*time.Hour); n != 0 {
		t.Errorf("%d are due before 11 days are left", n)
	}
	if n := count(19*day + 12*time.Hour); n == 0 || n == fleet {
		t.Errorf("%d of %d are due at once", n, fleet)
	}
	if n := count(20*day + time.Hour); n != fleet {
		t.Errorf("%d of %d are due when a third is left", n, fleet)
	}
}

func TestUsages(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	for _, tc := range []struct {
		name   string
		has    []x509.ExtKeyUsage
		wanted []x509.ExtKeyUsage
		words  string // of the error; empty: fine
	}{
		{"none, as dojot's", nil, nil, ""},
		{"a client's", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil, ""},
		{"any", []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, nil, ""},
		{"a server's for a client", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, nil, "clientAuth"},
		{"a client's for both", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			[]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, "serverAuth"},
		{"a client's for nothing", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []x509.ExtKeyUsage{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := newP256(t)
			id.Usages = tc.wanted
			ca.edit = func(c *x509.Certificate) { c.ExtKeyUsage = tc.has }
			_, err := id.Ensure(t.Context(), ca)
			if (err == nil) != (tc.words == "") || err != nil && !strings.Contains(err.Error(), tc.words) {
				t.Errorf("got %v, want %q", err, tc.words)
			}
		})
	}
	t.Run("of a CA for servers", func(t *testing.T) {
		ca.edit = nil
		servers := ca.sub(t, "servers")
		servers.cert = ca.issue(t, caTemplate("servers"), usage(x509.ExtKeyUsageServerAuth), servers.key.Public())
		if _, err := newP256(t).Ensure(t.Context(), servers); err == nil || !strings.Contains(err.Error(), "clientAuth") {
			t.Errorf("got %v, want clientAuth to be excluded", err)
		}
	})
}

// The forms in which OpenSSL writes keys.
func TestForeignKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	for _, tc := range []struct{ name, text, words string }{
		{"SEC 1", sec1, ""},
		{"openssl ecparam -genkey", "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + sec1, ""},
		{"with text before it, and CRLF", strings.ReplaceAll("Private-Key: (256 bit)\n"+sec1, "\n", "\r\n"), ""},
		{"PKCS #8 with a password", strings.ReplaceAll(sec1, "EC PRIVATE", "ENCRYPTED PRIVATE"), "password"},
		{"with a password", strings.Replace(sec1, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1), "password"},
		{"cut short", sec1[:100], "no PEM block"},
		{"of another kind", strings.ReplaceAll(sec1, "EC PRIVATE", "PUBLIC"), "PUBLIC KEY"},
	} {
		id := newP256(t)
		if err := os.MkdirAll(filepath.Dir(id.Files.Key), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, id.Files.Key, tc.text)
		_, err := id.Ensure(t.Context(), newTestCA(t, "IOTmidCA"))
		if (err == nil) != (tc.words == "") || err != nil && !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.words)
		}
		if read(t, id.Files.Key) != tc.text {
			t.Errorf("%s: the key was replaced", tc.name)
		}
	}
}

func TestNamesThatAreNoPaths(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"", ".", "..", "../24f6", "a/b", `a\b`, "/etc/passwd", "a\x00b", "a\nb", "\xff", ".hidden", "a.", "a ", " a",
		"CON", "con", "nul.txt", "Aux.tar.gz", "COM1", "lpt9", "COM²", "conin$", "NUL ", "nul:stream", "a*", "a?", `a"`, "a|b", "a<b",
		strings.Repeat("x", 201),
	} {
		for _, files := range []provision.Files{
			provision.DeviceFiles(dir, name, "IOTmidCA"), provision.DeviceFiles(dir, "24f6", name),
		} {
			if files.Key != "" || files.Cert != "" || files.CA != "" {
				t.Errorf("%q became a path: %+v", name, files)
			}
			id := provision.Identity{CommonName: "24f6", Files: files}
			var field *provision.FieldError
			if _, err := id.Ensure(t.Context(), newTestCA(t, "ca")); !errors.As(err, &field) || field.Value != name {
				t.Errorf("%q: got %v, want a FieldError about it", name, err)
			}
			if _, err := provision.TLSConfig(files); !errors.As(err, &field) {
				t.Errorf("%q: TLSConfig says %v", name, err)
			}
		}
	}
	for _, name := range []string{"24f6", "admin:5c6512", "sensor.local", "console", "com10", "Gerät-7", "a b"} {
		if err := provision.CheckName("device", name); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("written: %v, %v", entries, err)
	}
}

func FuzzDeviceFiles(f *testing.F) {
	for _, s := range []string{"24f6", "..", "a/b", "con.txt", "admin:5c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		files := provision.DeviceFiles("certs", name, "\x01ca")
		if files.Key != "" {
			t.Error("a hostile CA name became a path")
		}
		files = provision.DeviceFiles("certs", name, "ca")
		if files.Key != "" && filepath.Dir(files.Key) != "certs" {
			t.Errorf("%q leads to %q", name, files.Key)
		}
	})
}

// On a disk that is full or read-only, the old set stays in service, and the
// error names file and step.
func TestDiskTrouble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs a small file system of its own: %v", err)
	}
	defer func() {
		// Somebody may look at it at this instant, such as an indexer.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	id.Files = provision.DeviceFiles(dir, "24f6", "IOTmidCA")
	ensure(t, id, ca)
	before := snapshot(t, id.Files)
	id.Overwrite = true
	trouble := func(t *testing.T, want error) {
		t.Helper()
		_, err := id.Ensure(t.Context(), ca)
		var step *provision.StepError
		if !errors.Is(err, want) || !errors.As(err, &step) || step.Step == "" || !strings.HasPrefix(step.Path, dir) {
			t.Errorf("got %v, want %v with step and path", err, want)
		}
		if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
			t.Errorf("files in service changed (-before +after):\n%s", diff)
		}
		if _, err := provision.TLSConfig(id.Files); err != nil {
			t.Error(err)
		}
	}
	// With ever more room, the failure moves from step to step.
	for free := range 3 {
		t.Run(fmt.Sprintf("full but for %d pages", free), func(t *testing.T) {
			hog := filepath.Join(dir, "hog")
			fill(t, hog)
			if info, err := os.Stat(hog); err != nil || os.Truncate(hog, info.Size()-int64(free*os.Getpagesize())) != nil {
				t.Fatal("cannot make room")
			}
			defer os.Remove(hog)
			trouble(t, syscall.ENOSPC)
		})
	}
	t.Run("read-only", func(t *testing.T) {
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skip(err)
		}
		defer syscall.Mount("", dir, "", syscall.MS_REMOUNT, "")
		trouble(t, syscall.EROFS)
	})
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, os.Getpagesize()))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// endsLater is a context that ends after it was asked so many times.
type endsLater struct {
	context.Context
	times int
}

func (c *endsLater) Err() error {
	if c.times--; c.times >= 0 {
		return nil
	}
	return context.Canceled
}

// Whose time is over begins no key, which can take minutes, and if it ends
// meanwhile, nothing is written any more.
func TestEnsureWithoutTimeForAKey(t *testing.T) {
	for times := range 2 {
		id := newP256(t)
		_, err := id.Ensure(&endsLater{t.Context(), times}, newTestCA(t, "ca"))
		step, ok := errors.AsType[*provision.StepError](err)
		if !ok || step.Step != provision.StepKey || !errors.Is(err, context.Canceled) {
			t.Errorf("%d: got %v, want the context's error", times, err)
		}
		if _, err := os.Stat(id.Files.Key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d: a key was written (%v)", times, err)
		}
	}
}
