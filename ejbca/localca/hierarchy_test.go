package localca_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

func TestHierarchy(t *testing.T) {
	clock := newClock()
	dir := t.TempDir()
	options := localca.Options{KeySize: 256, SubCAs: []localca.SubCA{
		{Name: "PROTOCOL", Lifetime: 730 * 24 * time.Hour, SubCAs: []localca.SubCA{{Name: "MQTT"}, {Name: "COAP"}}},
	}, Now: clock.Now}
	s := serve(t, dir, options)
	// Numbers are Java's hash codes of the names.
	if status, got := s.ask("GET", "/ca", ""); status != 200 || got != `{"CAs":[{"id":576968287,"name":"IOTmidCA"},{"id":-1371917878,"name":"PROTOCOL"},{"id":1624687053,"name":"COAP"},{"id":1624987478,"name":"MQTT"}]}` {
		t.Errorf("CAs: %d %s", status, got)
	}

	chain := s.ca.Chain("MQTT")
	var names []string
	for i, cert := range chain {
		names = append(names, cert.Subject.String())
		var answer struct{ Certificate string }
		s.must("GET", "/ca/"+[]string{"MQTT", "PROTOCOL", "IOTmidCA"}[i], "", &answer)
		if der, err := base64.StdEncoding.DecodeString(answer.Certificate); err != nil || string(der) != string(cert.Raw) {
			t.Errorf("%v isn't what is served: %v", cert.Subject, err)
		}
		if !cert.IsCA || cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
			t.Errorf("%v: CA %v, key usage %b", cert.Subject, cert.IsCA, cert.KeyUsage)
		}
	}
	if want := []string{"CN=MQTT", "CN=PROTOCOL", issuerDN}; !slices.Equal(names, want) {
		t.Errorf("got chain %q, want %q", names, want)
	}
	if chain[1].NotAfter.After(chain[2].NotAfter) || !chain[0].NotAfter.Equal(chain[1].NotAfter) || chain[1].NotAfter.Sub(chain[1].NotBefore) != 730*24*time.Hour {
		t.Errorf("ends: MQTT %v, PROTOCOL %v, root %v", chain[0].NotAfter, chain[1].NotAfter, chain[2].NotAfter)
	}
	if s.ca.Chain("x") != nil {
		t.Error("a CA that isn't there has a chain")
	}

	s.must("POST", "/user", `{"username":"a","password":"secret","caName":"MQTT"}`, nil)
	status, text := s.sign("a", newRequest(t, keys()[0], nil))
	cert := s.certificate(status, text)
	verify(t, cert, chain, clock.Now())

	// Each CA has its own list; one's revocation isn't in another's.
	path := "/ca/CN=MQTT/certificate/" + cert.SerialNumber.Text(16)
	if status, text := s.ask("DELETE", "/ca/CN=PROTOCOL/certificate/"+cert.SerialNumber.Text(16), ""); status != 400 || !strings.Contains(text, "Could not find end entity certificate") {
		t.Errorf("revoked by the wrong CA: %d %s", status, text)
	}
	s.must("GET", path, "", nil)
	s.must("DELETE", path+"?reason=SUPERSEDED", "", nil)
	want := map[string]string{"IOTmidCA": "", "PROTOCOL": "", "COAP": "", "MQTT": fmt.Sprintf("%x:4", cert.SerialNumber)}
	for name, want := range want {
		if got := serials(s.list(name, "", clock.Now())); got != want {
			t.Errorf("CRL of %s has %q, want %q", name, got, want)
		}
	}
	// A CA is revoked by the one above.
	s.must("DELETE", "/ca/CN=PROTOCOL/certificate/"+chain[0].SerialNumber.Text(16)+"?reason=CACOMPROMISE", "", nil)
	if got, want := serials(s.list("PROTOCOL", "", clock.Now())), fmt.Sprintf("%x:2", chain[0].SerialNumber); got != want {
		t.Errorf("CRL of PROTOCOL has %q, want %q", got, want)
	}
	s.must("POST", "/user", `{"username":"a","password":"secret","caName":"MQTT"}`, nil)
	if status, text := s.sign("a", newRequest(t, keys()[0], nil)); status != 400 || !strings.Contains(text, "CA with name MQTT is revoked.") {
		t.Errorf("signing by a revoked CA: got %d %s, want 400", status, text)
	}
	// Removing a user revokes what any CA gave it.
	s.must("POST", "/user", `{"username":"a","password":"secret","caName":"COAP"}`, nil)
	status, text = s.sign("a", newRequest(t, keys()[0], nil))
	cert = s.certificate(status, text)
	s.must("DELETE", "/user/a?delete=true", "", nil)
	if got, want := serials(s.list("COAP", "", clock.Now())), fmt.Sprintf("%x:0", cert.SerialNumber); got != want {
		t.Errorf("CRL of COAP has %q, want %q", got, want)
	}

	// Nobody gets a CA's name.
	for _, dn := range []string{"CN=MQTT", "cn = PROTOCOL"} {
		if status, text := s.ask("POST", "/user", asJSON(map[string]string{"username": "evil", "subjectDN": dn})); status != 400 || !strings.Contains(text, "is a CA's") {
			t.Errorf("%s: got %d %s, want 400", dn, status, text)
		}
	}
}

func verify(t *testing.T, cert *x509.Certificate, chain []*x509.Certificate, now time.Time) {
	t.Helper()
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range chain[:len(chain)-1] {
		intermediates.AddCert(c)
	}
	roots.AddCert(chain[len(chain)-1])
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Error(err)
	}
}

// list gets a list of a CA and, if it is complete, verifies it.
func (s *service) list(name, query string, now time.Time) *x509.RevocationList {
	s.t.Helper()
	var answer struct{ CRL string }
	s.must("GET", "/ca/"+url.PathEscape(name)+"/crl"+query, "", &answer)
	list, err := crl.Parse([]byte(answer.CRL))
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(query, "delta") {
		// It may have been made in the second after now.
		if err := crl.Verify(list, s.ca.Chain(name)[0], now.Add(time.Second)); err != nil {
			s.t.Fatal(err)
		}
	}
	return list
}

func TestHierarchyGrows(t *testing.T) {
	dir := t.TempDir()
	open := func(subCAs ...localca.SubCA) (*localca.CA, error) {
		return localca.Open(dir, localca.Options{KeySize: 256, SubCAs: subCAs})
	}
	ca, err := open(localca.SubCA{Name: "PROTOCOL"})
	if err != nil {
		t.Fatal(err)
	}
	before := ca.Chain("PROTOCOL")
	ca.Close()
	if ca, err = open(localca.SubCA{Name: "PROTOCOL", SubCAs: []localca.SubCA{{Name: "MQTT"}}}); err != nil {
		t.Fatal(err)
	}
	after := ca.Chain("MQTT")
	if len(after) != 3 || !after[1].Equal(before[0]) || !after[2].Equal(before[1]) {
		t.Errorf("chain %v doesn't go on in %v", after, before)
	}
	ca.Close()
	if ca, err = open(); err != nil {
		t.Fatal(err)
	}
	if got := ca.Chain("MQTT"); len(got) != 3 || !got[0].Equal(after[0]) {
		t.Errorf("got chain %v, want what there was", got)
	}
	ca.Close()
	deep := localca.SubCA{Name: "0"}
	for i := range 10 {
		deep = localca.SubCA{Name: fmt.Sprint(i + 1), SubCAs: []localca.SubCA{deep}}
	}
	for _, tc := range []struct {
		name string
		sub  []localca.SubCA
		want string
	}{
		{"moved", []localca.SubCA{{Name: "MQTT"}}, `CA "MQTT" exists, but not below "IOTmidCA"`},
		{"twice", []localca.SubCA{{Name: "A"}, {Name: "B", SubCAs: []localca.SubCA{{Name: "A"}}}}, `two CAs are called "A"`},
		{"the root's name", []localca.SubCA{{Name: "IOTmidCA"}}, `two CAs are called "IOTmidCA"`},
		{"bad name", []localca.SubCA{{Name: "a\nb"}}, `name "a\nb"`},
		{"small key", []localca.SubCA{{Name: "A", KeySize: 512}}, "key size 512"},
		{"short life", []localca.SubCA{{Name: "A", Lifetime: time.Second}}, `CA "A": lifetime 1s (want an hour or more)`},
		{"too deep", []localca.SubCA{deep}, "more than 8 levels"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ca, err := open(tc.sub...)
			if err == nil {
				ca.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// A CA's name is its own also when an end entity had it first.
func TestSubCAWithAUsersName(t *testing.T) {
	dir := newDir(t)
	ca, err := localca.Open(dir, localca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(ca)
	s := &service{t, ca, server.URL}
	s.register("MQTT")
	s.enrol("COAP", keys()[0])
	server.Close()
	ca.Close()

	if ca, err := localca.Open(dir, localca.Options{SubCAs: []localca.SubCA{{Name: "COAP", KeySize: 256}}}); err == nil || !strings.Contains(err.Error(), `user "COAP" has its name for a subject`) {
		t.Errorf("a CA with the name of an end entity that has a certificate: got %v", err)
		if err == nil {
			ca.Close()
		}
	}
	s = serve(t, dir, localca.Options{SubCAs: []localca.SubCA{{Name: "MQTT", KeySize: 256}}})
	if status, text := s.sign("MQTT", newRequest(t, keys()[1], nil)); status != 400 || !strings.Contains(text, "Illegal subject DN: CN=MQTT is a CA's.") {
		t.Errorf("an end entity with the name of a CA: got %d %s, want 400", status, text)
	}
}

func TestDojotSubCAs(t *testing.T) {
	_, want, err := localca.ParseHierarchy([]byte(`{"name":"IOTmidCA","subca":[{"name":"PROTOCOL","subca":[{"name":"MQTT","keysize":"2048"},{"name":"COAP","keysize":"2048"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, localca.DojotSubCAs()); diff != "" {
		t.Error(diff)
	}
}

func TestECDSA(t *testing.T) {
	s := serve(t, t.TempDir(), localca.Options{KeySize: 256, ECDSA: true})
	if got, want := s.ca.Certificate().SignatureAlgorithm, x509.ECDSAWithSHA256; got != want {
		t.Errorf("root is signed with %v, want %v", got, want)
	}
	s.register("ec")
	status, text := s.ask("POST", "/sign/ec/pkcs10", signBody("secret", newECDSARequest(t, "P-256")))
	cert := s.certificate(status, text)
	verify(t, cert, s.ca.Chain("IOTmidCA"), time.Now())
	if _, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || cert.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment|x509.KeyUsageKeyAgreement {
		t.Errorf("got key %T, usage %b", cert.PublicKey, cert.KeyUsage)
	}
	if len(cert.SubjectKeyId) != 20 {
		t.Errorf("key identifier %x", cert.SubjectKeyId)
	}
	s.register("rsa")
	status, text = s.sign("rsa", newRequest(t, keys()[0], nil))
	verify(t, s.certificate(status, text), s.ca.Chain("IOTmidCA"), time.Now())
	s.register("p384")
	status, text = s.ask("POST", "/sign/p384/pkcs10", signBody("secret", newECDSARequest(t, "P-384")))
	if status != 400 || !strings.Contains(text, "Illegal key length: 384.") {
		t.Errorf("P-384: got %d %s", status, text)
	}
	s.crl(time.Now())
}

func TestReset(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{Reset: true})
	first := s.enrol("a", keys()[0])
	again := func(password string) (int, string) {
		return s.ask("POST", "/sign/a/pkcs10", signBody(password, newRequest(t, keys()[0], nil)))
	}
	status, text := again("secret")
	if second := s.certificate(status, text); second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("got the same certificate again")
	}
	if status, text := again("Secret"); status != 400 || !strings.Contains(text, "Got request for user with invalid password: a.") {
		t.Errorf("wrong password: got %d %s", status, text)
	}
	s.must("DELETE", "/user/a", "", nil)
	if status, text := again("Secret"); status != 400 {
		t.Errorf("wrong password: got %d %s", status, text)
	}
	var user struct{ User []struct{ Status int } }
	if s.must("GET", "/user/a", "", &user); user.User[0].Status != 50 {
		t.Errorf("a wrong password made a revoked user %d", user.User[0].Status)
	}
	status, text = again("secret")
	s.certificate(status, text)
	if status, text := s.sign("nobody", newRequest(t, keys()[1], nil)); status != 400 || text != `{"message":"User not found to renew..","status":400}` {
		t.Errorf("unknown user: got %d %s", status, text)
	}
	if status, text := s.sign("b", newRequest(t, keys()[1], nil)); status != 400 || !strings.Contains(text, "User not found to renew..") {
		t.Errorf("unknown user: got %d %s", status, text)
	}
}

func TestParseHierarchy(t *testing.T) {
	const original = `{
    "name" : "IOTmidCA",
     "subca" : [
        {
            "name": "PROTOCOL", "validity" : "730", "keysize" : "4096",
            "subca" : [
                {"name" : "MQTT", "validity" : "365", "keysize" : "2048", "subca" : []},
                {"name" : "COAP", "validity" : 365, "keysize" : 2048}
            ]
        }
    ]
}
`
	const day = 24 * time.Hour
	name, got, err := localca.ParseHierarchy([]byte(original))
	if err != nil || name != "IOTmidCA" {
		t.Fatalf("got %q, %v", name, err)
	}
	want := []localca.SubCA{{Name: "PROTOCOL", KeySize: 4096, Lifetime: 730 * day, SubCAs: []localca.SubCA{
		{Name: "MQTT", KeySize: 2048, Lifetime: 365 * day},
		{Name: "COAP", KeySize: 2048, Lifetime: 365 * day},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", "EOF"},
		{"cut off", original[:len(original)/2], "EOF"},
		{"followed", original + "{}", "something follows"},
		{"a list", "[]", "cannot unmarshal array"},
		{"unknown member", `{"name":"a","subcas":[]}`, `unknown field "subcas"`},
		{"root with key size", `{"name":"a","keysize":"2048"}`, `the root "a" has`},
		{"no number", `{"name":"a","subca":[{"name":"b","validity":"year"}]}`, "invalid number literal"},
		{"negative", `{"name":"a","subca":[{"name":"b","validity":"-1"}]}`, `CA "b": validity "-1" (want a number from 1 to 36525)`},
		{"beyond time", `{"name":"a","subca":[{"name":"b","subca":[{"name":"c","validity":1e9}]}]}`, `CA "c": validity "1e9"`},
		{"fraction", `{"name":"a","subca":[{"name":"b","keysize":2048.5}]}`, `CA "b": keysize "2048.5"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := localca.ParseHierarchy([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// Whatever a description holds, it is refused or makes no nonsense.
func FuzzParseHierarchy(f *testing.F) {
	f.Add([]byte(`{"name":"a","subca":[{"name":"b","validity":"1","keysize":"256","subca":[]}]}`))
	f.Add([]byte(`{"name":"a","subca":[{"name":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		name, subCAs, err := localca.ParseHierarchy(data)
		if err != nil && (name != "" || subCAs != nil) {
			t.Errorf("got %q and %v with %v", name, subCAs, err)
		}
		for _, s := range subCAs {
			if s.Lifetime < 0 || s.KeySize < 0 {
				t.Errorf("got %+v", s)
			}
		}
	})
}
