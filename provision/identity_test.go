package provision_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/provision"
)

// newCA starts a CA and returns it as the device called name sees it.
func newCA(t *testing.T, name string) (*ejbcatest.Server, *ejbca.Issuer) {
	t.Helper()
	server := ejbcatest.NewServer()
	t.Cleanup(server.Close)
	return server, &ejbca.Issuer{Client: server.Client(), User: name, Register: true}
}

func newIdentity(t *testing.T) *provision.Identity {
	t.Helper()
	return &provision.Identity{
		CommonName: "24f6",
		DNSNames:   []string{"sensor.local"},
		IPs:        []net.IP{net.IPv4(10, 0, 0, 7)},
		Files:      provision.DeviceFiles(filepath.Join(t.TempDir(), "certs"), "24f6", "IOTmidCA"),
	}
}

// ensure runs Ensure and returns what it did, "CA made, key kept, …".
func ensure(t *testing.T, id *provision.Identity, ca provision.CA) string {
	t.Helper()
	steps, err := id.Ensure(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{id.Files.CA: "CA", id.Files.Key: "key", id.Files.CSR: "CSR", id.Files.Cert: "certificate", id.Files.CRL: "CRL"}
	var did []string
	for _, s := range steps {
		did = append(did, names[s.Path]+" "+string(s.Action))
	}
	return strings.Join(did, ", ")
}

const (
	allMade = "CA made, key made, CSR made, certificate made, CRL made"
	allKept = "CA kept, key kept, CSR kept, certificate kept, CRL kept"
	renewed = "CA kept, key kept, CSR kept, certificate made, CRL kept"

	anew    = "CA made, key made, CSR made, certificate made, CRL kept" // by Overwrite
	grownUp = "CA kept, key kept, CSR kept, certificate made, CRL made" // after a while
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func leaf(t *testing.T, files provision.Files) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, files.Cert)))
	if block == nil {
		t.Fatal("no PEM block in the certificate's file")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// snapshot is what is on disk: of each file the mode and the content.
func snapshot(t *testing.T, files provision.Files) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, path := range []string{files.CA, files.Key, files.CSR, files.Cert} {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(path)] = info.Mode().String() + "\n" + read(t, path)
	}
	return got
}

func TestEnsure(t *testing.T) {
	server, ca := newCA(t, "24f6")
	id := newIdentity(t)
	if got := ensure(t, id, ca); got != allMade {
		t.Errorf("first: %s, want %s", got, allMade)
	}
	cert := leaf(t, id.Files)
	if cert.Subject.CommonName != "24f6" || cert.DNSNames[0] != "sensor.local" || !cert.IPAddresses[0].Equal(id.IPs[0]) {
		t.Errorf("certificate for %v, %v, %v", cert.Subject, cert.DNSNames, cert.IPAddresses)
	}
	if err := cert.CheckSignatureFrom(server.Root()); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]fs.FileMode{id.Files.Key: 0o600, id.Files.Cert: 0o644, id.Files.CSR: 0o644, id.Files.CA: 0o644} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
	before := snapshot(t, id.Files)
	if got := ensure(t, id, ca); got != allKept {
		t.Errorf("again: %s, want %s", got, allKept)
	}
	if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
	// The files are what a client needs.
	if _, err := provision.TLSConfig(id.Files); err != nil {
		t.Error(err)
	}
	id.Overwrite = true
	if got := ensure(t, id, ca); got != anew {
		t.Errorf("overwrite: %s, want %s", got, anew)
	}
	after := snapshot(t, id.Files)
	for _, name := range []string{"24f6.key", "24f6.csr", "24f6.crt"} {
		if before[name] == after[name] {
			t.Errorf("%s was not overwritten", name)
		}
	}
}

// What is wrong with what is there, and what must be done about it.
func TestEnsureMends(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(t *testing.T, id *provision.Identity, server *ejbcatest.Server)
		want string
	}{
		{"certificate lost", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			remove(t, id.Files.Cert)
		}, renewed},
		{"request lost", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			remove(t, id.Files.CSR)
		}, "CA kept, key kept, CSR made, certificate kept, CRL kept"},
		{"request cut short, as a power failure may leave it", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			write(t, id.Files.CSR, read(t, id.Files.CSR)[:100])
		}, "CA kept, key kept, CSR made, certificate kept, CRL kept"},
		{"request emptied", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			write(t, id.Files.CSR, "")
		}, "CA kept, key kept, CSR made, certificate kept, CRL kept"},
		{"key lost", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			remove(t, id.Files.Key)
		}, "CA kept, key made, CSR made, certificate made, CRL kept"},
		{"CA lost", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			remove(t, id.Files.CA)
		}, "CA made, key kept, CSR kept, certificate kept, CRL kept"},
		{"certificate is rubbish", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			write(t, id.Files.Cert, "rubbish")
		}, renewed},
		{"certificate half written", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			write(t, id.Files.Cert, read(t, id.Files.Cert)[:200])
		}, renewed},
		{"another name wanted", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			id.DNSNames = append(id.DNSNames, "other.local")
		}, "CA kept, key kept, CSR made, certificate made, CRL kept"},
		{"soon over", func(t *testing.T, id *provision.Identity, server *ejbcatest.Server) {
			server.Advance(600 * 24 * time.Hour)
			id.Now = server.Now
		}, grownUp},
		{"over", func(t *testing.T, id *provision.Identity, server *ejbcatest.Server) {
			server.Advance(800 * 24 * time.Hour)
			id.Now = server.Now
		}, grownUp},
		{"renewal wanted as early as can be", func(t *testing.T, id *provision.Identity, server *ejbcatest.Server) {
			server.Advance(300 * 24 * time.Hour)
			id.Now = server.Now
			id.RenewBefore = math.MaxInt64
		}, grownUp},
		{"intermediate cut short", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			write(t, id.Files.Cert, read(t, id.Files.Cert)+read(t, id.Files.CA)[:200])
		}, renewed},
		{"key of somebody else", func(t *testing.T, id *provision.Identity, _ *ejbcatest.Server) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			write(t, id.Files.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		}, "CA kept, key kept, CSR made, certificate made, CRL kept"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, ca := newCA(t, "24f6")
			id := newIdentity(t)
			ensure(t, id, ca)
			tc.harm(t, id, server)
			if got := ensure(t, id, ca); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if _, err := provision.TLSConfig(id.Files); err != nil {
				t.Error(err)
			}
			if got := ensure(t, id, ca); got != allKept {
				t.Errorf("once more: %s, want %s", got, allKept)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A CA that was built anew under its old name has another key, and nothing
// that the old one signed is worth anything.
func TestRebuiltCA(t *testing.T) {
	_, old := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, old)
	server, ca := newCA(t, "24f6")

	// As long as the new one does not sign, what is in service stays as a set.
	before := snapshot(t, id.Files)
	shy := forger{ca, func(*x509.CertificateRequest) ([]*x509.Certificate, error) { return nil, errors.New("not today") }}
	if _, err := id.Ensure(t.Context(), shy); err == nil {
		t.Error("want an error")
	}
	if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
		t.Errorf("files in service changed (-before +after):\n%s", diff)
	}

	if got, want := ensure(t, id, ca), "key kept, CSR kept, CA made, certificate made, CRL made"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := leaf(t, id.Files).CheckSignatureFrom(server.Root()); err != nil {
		t.Error(err)
	}
}

func TestCAThatDoesNotAnswer(t *testing.T) {
	server, ca := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, ca)
	server.Close()
	var unasked []string
	id.Report = func(s provision.Step) {
		if s.Action == provision.Kept && strings.Contains(s.Reason, "asking the CA: ") {
			unasked = append(unasked, s.Path)
		}
	}
	if got := ensure(t, id, ca); got != allKept {
		t.Errorf("good files: %s, want %s", got, allKept)
	}
	if diff := cmp.Diff([]string{id.Files.CA, id.Files.CRL}, unasked); diff != "" {
		t.Errorf("kept unasked, and said so (-want +got):\n%s", diff)
	}
	remove(t, id.Files.Cert)
	before := snapshot(t, id.Files)
	if _, err := id.Ensure(t.Context(), ca); !errors.Is(err, ejbca.ErrUnavailable) {
		t.Errorf("no certificate: got %v, want %v", err, ejbca.ErrUnavailable)
	}
	if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
}

// forger is a CA whose answer is not what was asked for.
type forger struct {
	provision.CA
	sign func(csr *x509.CertificateRequest) ([]*x509.Certificate, error)
}

func (f forger) Sign(_ context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	return f.sign(csr)
}

// Whatever a CA answers, what is in service stays until something better is
// at hand.
func TestAnswersThatAreNotTheCertificate(t *testing.T) {
	good := newTestCA(t, "IOTmidCA")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(t *testing.T, cn string, of, by *x509.Certificate, pub crypto.PublicKey, edit func(*x509.Certificate)) *x509.Certificate {
		t.Helper()
		c := &x509.Certificate{
			SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: cn},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{"sensor.local"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 7)},
		}
		if of != nil {
			c = of
		}
		if edit != nil {
			edit(c)
		}
		if by == nil {
			by = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, by, pub, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	root := issue(t, "IOTmidCA", nil, nil, &key.PublicKey, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	chain := chainOf{root}
	for _, tc := range []struct {
		name  string
		sign  func(csr *x509.CertificateRequest) *x509.Certificate
		words string
	}{
		{"another key", func(*x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, &key.PublicKey, nil)
		}, "another key"},
		{"another name", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "admin", nil, root, csr.PublicKey, nil)
		}, `"admin"`},
		{"an alternative name missing", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, csr.PublicKey, func(c *x509.Certificate) { c.DNSNames = nil })
		}, "sensor.local"},
		{"expired", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, csr.PublicKey, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, "expired"},
		{"from the future", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, csr.PublicKey, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		}, "this machine's clock"},
		{"a CA certificate", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, csr.PublicKey, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
		}, "CA certificate"},
		{"two names", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, csr.PublicKey, func(c *x509.Certificate) {
				c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 3}, Value: "admin"}, {Type: []int{2, 5, 4, 3}, Value: "24f6"}}
			})
		}, `"admin, 24f6"`},
		{"for encryption alone", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, csr.PublicKey, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
		}, "key usage"},
		{"too large for its file", func(csr *x509.CertificateRequest) *x509.Certificate {
			return issue(t, "24f6", nil, root, csr.PublicKey, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, 1<<20)}}
			})
		}, "want at most"},
		{"nothing", func(*x509.CertificateRequest) *x509.Certificate { return nil }, "no certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := newP256(t)
			id.Files.CRL = ""
			ensure(t, id, good)
			id.Overwrite = true
			before := snapshot(t, id.Files)
			_, err := id.Ensure(t.Context(), forger{chain, func(csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
				if c := tc.sign(csr); c != nil {
					return []*x509.Certificate{c}, nil
				}
				return nil, nil
			}})
			if err == nil || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("got %v, want an error with %q", err, tc.words)
			}
			if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
				t.Errorf("files in service changed (-before +after):\n%s", diff)
			}
		})
	}
}

type chainOf []*x509.Certificate

func (c chainOf) Chain(context.Context) ([]*x509.Certificate, error) { return c, nil }
func (c chainOf) Sign(context.Context, *x509.CertificateRequest) ([]*x509.Certificate, error) {
	return nil, errors.New("not here")
}

// A certificate that is to be renewed, but good, is not replaced by one that
// ends no later, nor by one that has been revoked: that would go on and on.
func TestAnswersThatAreNoBetter(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	id := newP256(t)
	ensure(t, id, ca)
	before := snapshot(t, id.Files)
	there := leaf(t, id.Files)
	id.Now = func() time.Time { return time.Now().Add(25 * 24 * time.Hour) }
	for _, tc := range []struct {
		name  string
		ca    provision.CA
		words string
	}{
		{"the same", forger{chainOf{ca.cert}, func(*x509.CertificateRequest) ([]*x509.Certificate, error) {
			return []*x509.Certificate{there}, nil
		}}, "no later"},
		{"a revoked one", revokedAtOnce{ca}, "revoked"},
	} {
		_, err := id.Ensure(t.Context(), tc.ca)
		if err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: got %v, want an error with %q", tc.name, err, tc.words)
		}
		if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
			t.Errorf("%s: files in service changed (-before +after):\n%s", tc.name, diff)
		}
	}
}

// revokedAtOnce is a CA whose list has what it will sign.
type revokedAtOnce struct{ *testCA }

var doomed = big.NewInt(77)

func (ca revokedAtOnce) CRL(ctx context.Context) (*x509.RevocationList, error) {
	ca.revoke(&x509.Certificate{SerialNumber: doomed})
	ca.editList = func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(60 * 24 * time.Hour) }
	return ca.testCA.CRL(ctx)
}

func (ca revokedAtOnce) Sign(ctx context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	ca.edit = func(c *x509.Certificate) {
		c.SerialNumber, c.NotAfter = doomed, time.Now().Add(60*24*time.Hour)
	}
	return ca.testCA.Sign(ctx, csr)
}

// A certificate that lasts as long as its CA is not renewed before that is.
func TestCAThatEndsFirst(t *testing.T) {
	ca := newTestCA(t, "IOTmidCA")
	ends := time.Now().Add(90 * 24 * time.Hour)
	ca.cert = ca.issue(t, caTemplate("IOTmidCA"), func(c *x509.Certificate) { c.NotAfter = ends }, ca.key.Public())
	ca.edit = func(c *x509.Certificate) { c.NotAfter = ends }
	id := newP256(t)
	ensure(t, id, ca)
	id.Now = func() time.Time { return ends.Add(-time.Hour) }
	ca.editList = func(l *x509.RevocationList) { l.NextUpdate = ends }
	steps, err := id.Ensure(t.Context(), ca)
	if err != nil || ca.signed != 1 {
		t.Fatalf("got %v, and %d certificates in all, want one", err, ca.signed)
	}
	if step := steps[3]; step.Action != provision.Kept || !strings.Contains(step.Reason, "the CA expires") {
		t.Errorf("got %+v, want the certificate kept, and why", step)
	}
	// One that ends before is worth another.
	ca.edit = func(c *x509.Certificate) { c.NotAfter = ends.Add(-time.Minute) }
	id.Overwrite = true
	ensure(t, id, ca)
	id.Overwrite, ca.edit = false, func(c *x509.Certificate) { c.NotAfter = ends }
	if got := ensure(t, id, ca); got != grownUp {
		t.Errorf("got %s, want %s", got, grownUp)
	}
}

// An interrupted run is taken up with the key that it made.
func TestEnsureResumes(t *testing.T) {
	_, ca := newCA(t, "24f6")
	id := newIdentity(t)
	down := errors.New("the line went down")
	_, err := id.Ensure(t.Context(), forger{ca, func(*x509.CertificateRequest) ([]*x509.Certificate, error) { return nil, down }})
	if !errors.Is(err, down) {
		t.Fatalf("got %v, want %v", err, down)
	}
	key := read(t, id.Files.Key)
	if got := ensure(t, id, ca); got != grownUp {
		t.Errorf("got %s, want %s", got, grownUp)
	}
	if read(t, id.Files.Key) != key {
		t.Error("the key was made twice")
	}
}

// A file that cannot be read as a key may still be somebody's only copy.
func TestUnreadableKeyIsNotReplaced(t *testing.T) {
	_, ca := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, ca)
	write(t, id.Files.Key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n")
	before := snapshot(t, id.Files)
	_, err := id.Ensure(t.Context(), ca)
	if err == nil || !strings.Contains(err.Error(), id.Files.Key) || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("got %v, want an error that names the file and not its content", err)
	}
	if diff := cmp.Diff(before, snapshot(t, id.Files)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
	id.Overwrite = true
	if got := ensure(t, id, ca); got != anew {
		t.Errorf("overwrite: %s, want %s", got, anew)
	}
}

func TestExposedKeyIsClosed(t *testing.T) {
	_, ca := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, ca)
	if err := os.Chmod(id.Files.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	ensure(t, id, ca)
	info, err := os.Stat(id.Files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
}

func TestModesAndOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	_, ca := newCA(t, "24f6")
	id := newIdentity(t)
	ensure(t, id, ca)
	check := func(when string, key, others fs.FileMode, uid, gid uint32) {
		t.Helper()
		for _, path := range []string{id.Files.Key, id.Files.CSR, id.Files.Cert, id.Files.CA, id.Files.CRL} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			want := others
			if path == id.Files.Key {
				want = key
			}
			owner := info.Sys().(*syscall.Stat_t)
			if info.Mode().Perm() != want || owner.Uid != uid || owner.Gid != gid {
				t.Errorf("%s: %s has mode %v and owner %d:%d, want %v and %d:%d", when, path, info.Mode().Perm(), owner.Uid, owner.Gid, want, uid, gid)
			}
		}
	}
	check("first", 0o600, 0o644, 0, uint32(os.Getegid()))
	id.Owner, id.KeyMode, id.CertMode = &provision.Owner{UID: 1883, GID: 1884}, 0o640, 0o444
	ensure(t, id, ca)
	check("kept", 0o640, 0o644, 1883, 1884)
	id.Overwrite = true
	remove(t, id.Files.CRL)
	ensure(t, id, ca)
	check("overwritten", 0o640, 0o444, 1883, 1884)
}

func TestHostileIdentities(t *testing.T) {
	ca := chainOf{}
	for _, tc := range []struct {
		name string
		edit func(*provision.Identity)
		want string
	}{
		{"no name", func(id *provision.Identity) { id.CommonName = "" }, "common name"},
		{"a path", func(id *provision.Identity) { id.CommonName = "../24f6" }, "common name"},
		{"line break", func(id *provision.Identity) { id.CommonName = "a\nb" }, "common name"},
		{"NUL", func(id *provision.Identity) { id.CommonName = "a\x00b" }, "common name"},
		{"wildcard", func(id *provision.Identity) { id.CommonName = "+" }, "common name"},
		{"blank at the end", func(id *provision.Identity) { id.CommonName = "a " }, "common name"},
		{"too long", func(id *provision.Identity) { id.CommonName = strings.Repeat("x", 65) }, "common name"},
		{"not UTF-8", func(id *provision.Identity) { id.CommonName = "\xff" }, "common name"},
		{"DNS name with a blank", func(id *provision.Identity) { id.DNSNames = []string{"a b"} }, "DNS name"},
		{"DNS name with a comma", func(id *provision.Identity) { id.DNSNames = []string{"a,DNS:b"} }, "DNS name"},
		{"empty DNS name", func(id *provision.Identity) { id.DNSNames = []string{""} }, "DNS name"},
		{"no address", func(id *provision.Identity) { id.IPs = []net.IP{nil} }, "IP address"},
		{"DNS name that is an address", func(id *provision.Identity) { id.DNSNames = []string{"10.0.0.7"} }, "DNS name"},
		{"no files", func(id *provision.Identity) { id.Files.Cert = "" }, "certificate file"},
		{"one file for two", func(id *provision.Identity) {
			id.Files.CSR = filepath.Join(filepath.Dir(id.Files.Key), ".", "x", "..", filepath.Base(id.Files.Key))
		}, "request file"},
		{"short key", func(id *provision.Identity) { id.KeyBits = 1024 }, "key length"},
		{"long key", func(id *provision.Identity) { id.KeyBits = 16384 }, "key length"},
	} {
		id := newIdentity(t)
		tc.edit(id)
		_, err := id.Ensure(t.Context(), ca)
		var field *provision.FieldError
		if !errors.As(err, &field) || field.Field != tc.want {
			t.Errorf("%s: got %v, want a FieldError about the %s", tc.name, err, tc.want)
		}
		if _, err := os.Stat(filepath.Dir(id.Files.Key)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written: %v", tc.name, err)
		}
	}
}

func TestTLSConfigOfMismatchedFiles(t *testing.T) {
	server, ca := newCA(t, "24f6")
	id := newIdentity(t)
	id.Now = server.Now
	ensure(t, id, ca)
	config, err := provision.TLSConfig(id.Files)
	if err != nil {
		t.Fatal(err)
	}
	// A renewed certificate is used without asking again.
	server.Advance(600 * 24 * time.Hour)
	ensure(t, id, ca)
	pair, err := config.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pair.Certificate[0], leaf(t, id.Files).Raw) {
		t.Error("the old certificate is shown")
	}

	other := *id
	other.CommonName, other.Files = "a1b2", provision.DeviceFiles(filepath.Dir(id.Files.Key), "a1b2", "IOTmidCA")
	ensure(t, &other, &ejbca.Issuer{Client: ca.Client, User: "a1b2", Register: true})
	mixed := id.Files
	mixed.Key = other.Files.Key
	if _, err := provision.TLSConfig(mixed); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("got %v, want the mismatch named", err)
	}
}
