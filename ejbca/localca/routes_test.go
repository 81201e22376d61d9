package localca_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

func TestRoutes(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	s.register("24f6")
	used := s.enrol("used", keys()[1])
	held := s.enrol("held", keys()[2])
	s.register("p12")
	s.must("POST", "/user", `{"username":"p12","password":"secret","tokenType":"P12"}`, nil)
	csr := signBody("secret", newRequest(t, keys()[0], nil))
	dn := url.PathEscape(issuerDN)
	usedPath, heldPath := certPath(used), certPath(held)
	serial := used.SerialNumber.Text(16)

	const okay = `{"message":"ok","status":200}`
	soap := func(text string) string { return `{"message":"soap message: ` + text + `","status":400}` }
	none := `{"message":"no certificates found","status":404}`
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string // "" is anything
	}{
		{"version", "GET", "/ejbca/version", "", 200, `{"version":"EJBCA 6.3 REST compatible (localca)"}`},
		{"CAs", "GET", "/ca", "", 200, `{"CAs":[{"id":576968287,"name":"IOTmidCA"}]}`},
		{"trailing slash", "GET", "/ca/", "", 200, `{"CAs":[{"id":576968287,"name":"IOTmidCA"}]}`},
		{"CA", "GET", "/ca/IOTmidCA", "", 200, ""},
		{"unknown CA", "GET", "/ca/x", "", 400, soap("CA with name x does not exist.")},
		{"CRL of unknown CA", "GET", "/ca/x/crl", "", 400, soap("CA with name x does not exist.")},
		{"delta CRL", "GET", "/ca/IOTmidCA/crl?delta=True", "", 400, soap("CA with name IOTmidCA has no delta CRL.")},
		{"make CRL", "PUT", "/ca/IOTmidCA/crl", "", 200, okay},
		{"make CRL of unknown CA", "PUT", "/ca/x/crl", "", 400, soap("CA with name x does not exist.")},

		{"status", "GET", usedPath + "/status", "", 200, `{"status":{"date":"1969-12-31T23:59:59.999000+00:00","reason":"NOTREVOKED"}}`},
		{"status of unknown serial", "GET", "/ca/" + dn + "/certificate/1234/status", "", 200, `{"status":{"date":"1969-12-31T23:59:59.999000+00:00","reason":"NOTREVOKED"}}`},
		{"status by CA name", "GET", "/ca/IOTmidCA/certificate/" + serial + "/status", "", 400, soap("Could not find CA with name null and ID -2016778888")},
		{"issuer in other order and case", "GET", "/ca/" + url.PathEscape("c=SE, o=EJBCA IOT, cn=IOTmidCA") + "/certificate/" + strings.ToUpper(serial) + "/status", "", 200, ""},
		{"other issuer", "GET", "/ca/CN=PROTOCOL/certificate/" + serial + "/status", "", 400, soap("Could not find CA with name null and ID -1371917878")},
		{"serial isn't hexadecimal", "GET", "/ca/" + dn + "/certificate/0x12/status", "", 400, `{"message":"invalid serial number 0x12, hexadecimal digits expected","status":400}`},
		{"certificate", "GET", usedPath, "", 200, ""},
		{"unknown certificate", "GET", "/ca/" + dn + "/certificate/1234", "", 404, none},

		{"user without name", "POST", "/user", `{"password":"x"}`, 400, `{"message":"required field usernamemissing.","status":400}`},
		{"user as list", "POST", "/user", `[]`, 400, `{"message":"required field usernamemissing.","status":400}`},
		{"user as null", "POST", "/user", `null`, 400, `{"message":"required field usernamemissing.","status":400}`},
		{"user cut off", "POST", "/user", `{"username":`, 400, `{"message":"malformed JSON","status":400}`},
		{"user not UTF-8", "POST", "/user", "{\"username\":\"a\xff\"}", 400, `{"message":"malformed JSON","status":400}`},
		{"user's name ends in half a character", "POST", "/user", `{"username":"a\ud800"}`, 400, ""},
		{"user's subject has half a character", "POST", "/user", `{"username":"a","subjectDN":"CN=a\udfffb"}`, 400, ""},
		{"user's name is a number", "POST", "/user", `{"username":5}`, 400, soap("Illegal value of element username")},
		{"user's status is null", "POST", "/user", `{"username":"a","status":null}`, 400, soap("Missing element status")},
		{"user's status is a list", "POST", "/user", `{"username":"a","status":[10]}`, 400, soap("Illegal value of element status")},
		{"user's status as text", "POST", "/user", `{"username":"a","status":"10"}`, 200, okay},
		{"user's status is none", "POST", "/user", `{"username":"a","status":41}`, 400, soap("Illegal status: 41.")},
		{"clearPwd as text", "POST", "/user", `{"username":"a","clearPwd":"yes"}`, 200, okay},
		{"clearPwd as list", "POST", "/user", `{"username":"a","clearPwd":[true]}`, 400, soap("Illegal value of element clearPwd")},
		{"key recovery as text", "POST", "/user", `{"username":"a","keyRecoverable":"True"}`, 400, soap("Key Recoverable cannot be used.")},
		{"unknown members are dropped", "POST", "/user", `{"username":"a","email":"a@b","extendedInformation":[]}`, 200, okay},
		{"user of unknown CA", "POST", "/user", `{"username":"a","caName":"x"}`, 400, soap("CA with name x does not exist.")},
		{"unknown profile", "POST", "/user", `{"username":"a","certificateProfileName":"x"}`, 400, soap("Error Certificate profile x does not exist.")},
		{"unknown end entity profile", "POST", "/user", `{"username":"a","endEntityProfileName":"x"}`, 400, soap("Error End Entity profile x does not exist.")},
		{"unknown token type", "POST", "/user", `{"username":"a","tokenType":"x"}`, 400, soap("Error Token Type  x does not exist.")},
		{"key recovery", "POST", "/user", `{"username":"a","keyRecoverable":true}`, 400, soap("Key Recoverable cannot be used.")},
		{"notification", "POST", "/user", `{"username":"a","sendNotification":true}`, 400, soap("Email notification cannot be used.")},
		{"no password", "POST", "/user", `{"username":"a","password":""}`, 400, ""},
		{"subject with organisation", "POST", "/user", `{"username":"a","subjectDN":"O=x,CN=a"}`, 400, soap("Wrong number of O fields in Subject DN.")},
		{"subject with two names", "POST", "/user", `{"username":"a","subjectDN":"CN=a,CN=b"}`, 400, soap("Wrong number of CN fields in Subject DN.")},
		{"subject without a name", "POST", "/user", `{"username":"a","subjectDN":"O=x"}`, 400, soap("Wrong number of CN fields in Subject DN.")},
		{"subject that is none", "POST", "/user", `{"username":"a","subjectDN":"a"}`, 400, ""},
		{"too long", "POST", "/user", `{"username":"` + strings.Repeat("a", 70_000) + `"}`, 413, `{"message":"request is longer than 65536 bytes","status":413}`},

		{"user", "GET", "/user/24f6", "", 200, `{"user":[{"caName":"IOTmidCA","cardNumber":null,"certificateProfileName":"CFREE","certificateSerialNumber":null,"clearPwd":true,"email":null,"endEntityProfileName":"EMPTY_CFREE","endTime":null,"extendedInformation":null,"hardTokenIssuerName":null,"keyRecoverable":false,"password":null,"sendNotification":false,"startTime":null,"status":10,"subjectAltName":null,"subjectDN":"CN=24f6","tokenType":"USERGENERATED","username":"24f6"}]}`},
		{"unknown user", "GET", "/user/24f", "", 404, none},
		{"certificates of user", "GET", "/user/used/find", "", 200, ""},
		{"certificates of user without any", "GET", "/user/24f6/find", "", 404, none},
		{"certificates of unknown user", "GET", "/user/use/find", "", 404, none},

		{"sign without anything", "POST", "/sign/24f6/pkcs10", `{}`, 400, `{"message":"Missing parameter. Expected: passwd and certificate","status":400}`},
		{"sign without password", "POST", "/sign/24f6/pkcs10", `{"certificate":"AAAA"}`, 400, `{"message":"Missing parameter. Expected: passwd and certificate","status":400}`},
		{"sign without request", "POST", "/sign/24f6/pkcs10", `{"passwd":"secret"}`, 400, `{"message":"Missing parameter. Expected: passwd and certificate","status":400}`},
		{"sign for unknown user", "POST", "/sign/nobody/pkcs10", csr, 400, soap("Wrong username or password")},
		{"sign with wrong password", "POST", "/sign/24f6/pkcs10", signBody("Secret", newRequest(t, keys()[0], nil)), 400, soap("Got request for user with invalid password: 24f6.")},
		{"sign again", "POST", "/sign/used/pkcs10", csr, 400, soap("Got request with status GENERATED (40), NEW, FAILED or INPROCESS required: used.")},
		{"sign again with wrong password", "POST", "/sign/used/pkcs10", signBody("x", newRequest(t, keys()[0], nil)), 400, soap("Got request with status GENERATED (40), NEW, FAILED or INPROCESS required: used.")},
		{"sign for other token type", "POST", "/sign/p12/pkcs10", csr, 400, soap("Error: Wrong Token Type of user, must be 'USERGENERATED' for PKCS10/SPKAC/CRMF/CVC requests")},
		{"sign the key of another", "POST", "/sign/24f6/pkcs10", signBody("secret", newRequest(t, keys()[1], nil)), 400, soap("User '24f6' is not allowed to use same key as another user is using.")},
		{"old path of signing", "POST", "/user/24f6/pkcs10", csr, 404, `{"message":"no such path","status":404}`},

		{"unknown reason", "DELETE", usedPath + "?reason=keyCompromise", "", 400, `{"message":"invalid revokation reason keyCompromise","status":400}`},
		{"reason behind a semicolon", "DELETE", usedPath + "?x=1;reason=CERTIFICATEHOLD", "", 400, `{"message":"malformed query: invalid semicolon separator in query","status":400}`},
		{"reason with a bad escape", "DELETE", usedPath + "?reason=%zz", "", 400, `{"message":"malformed query: invalid URL escape \"%zz\"","status":400}`},
		{"reason of a user with a bad escape", "DELETE", "/user/used?reason=KEYCOMPROMISE%", "", 400, ""},
		{"none of that revoked it", "GET", usedPath + "/status", "", 200, `{"status":{"date":"1969-12-31T23:59:59.999000+00:00","reason":"NOTREVOKED"}}`},
		{"revoke unknown serial", "DELETE", "/ca/" + dn + "/certificate/12Ab", "", 400, soap("Could not find end entity certificate. Issuer " + issuerDN + ", serialNo 12ab.")},
		{"release what isn't on hold", "DELETE", usedPath + "?reason=REMOVEFROMCRL", "", 400, soap("Not allowed to unrevoke a certificate that is not on hold. Issuer " + issuerDN + ", serialNo " + serial + ".")},
		{"revoke", "DELETE", usedPath + "?reason=KEYCOMPROMISE", "", 200, okay},
		{"revoke again", "DELETE", usedPath, "", 400, soap("Certificate is already revoked. Issuer: '" + issuerDN + "', serno: " + serial + ".")},
		{"release what is revoked for good", "DELETE", usedPath + "?reason=NOTREVOKED", "", 400, soap("Not allowed to unrevoke a certificate that is not on hold. Issuer " + issuerDN + ", serialNo " + serial + ".")},
		{"certificates of user, valid ones", "GET", "/user/used/find?valid=true", "", 404, none},
		{"certificates of user, all", "GET", "/user/used/find?valid=false", "", 200, ""},
		{"hold", "DELETE", heldPath + "?reason=CERTIFICATEHOLD", "", 200, okay},
		{"hold again", "DELETE", heldPath + "?reason=CERTIFICATEHOLD", "", 400, ""},
		{"release", "DELETE", heldPath + "?reason=NOTREVOKED", "", 200, okay},
		{"released", "GET", heldPath + "/status", "", 200, `{"status":{"date":"1969-12-31T23:59:59.999000+00:00","reason":"NOTREVOKED"}}`},
		{"hold once more", "DELETE", heldPath + "?reason=CERTIFICATEHOLD", "", 200, okay},
		{"hold to revoked", "DELETE", heldPath + "?reason=PRIVILEGESWITHDRAWN", "", 200, okay},

		{"revoke unknown user", "DELETE", "/user/nobody", "", 400, soap("Wrong username or password")},
		{"revoke user, unknown reason", "DELETE", "/user/used?reason=x", "", 400, `{"message":"invalid revokation reason x","status":400}`},
		{"release user", "DELETE", "/user/used?reason=REMOVEFROMCRL", "", 400, soap("Invalid operation trying to revoke user with unrevoke reason code. Username 'used', reason 8.")},
		{"release user, other name", "DELETE", "/user/used?reason=NOTREVOKED", "", 400, soap("Invalid operation trying to revoke user with unrevoke reason code. Username 'used', reason -1.")},
		{"revoke user", "DELETE", "/user/used", "", 200, okay},
		{"revoke user again, not removed for the reason", "DELETE", "/user/used?reason=SUPERSEDED&delete=true", "", 200, okay},
		{"sign for revoked user", "POST", "/sign/used/pkcs10", csr, 400, soap("Got request with status REVOKED (50), NEW, FAILED or INPROCESS required: used.")},
		{"delete user", "DELETE", "/user/used?delete=True", "", 200, okay},
		{"delete user again", "DELETE", "/user/used?delete=True", "", 400, soap("Wrong username or password")},

		{"wrong method", "POST", "/ca/IOTmidCA/crl", "", 405, `{"message":"Method not allowed, expected GET or PUT","status":405}`},
		{"no path", "GET", "/", "", 404, `{"message":"no such path","status":404}`},
		{"empty name", "GET", "/user//find", "", 404, `{"message":"no such path","status":404}`},
		{"deeper path", "GET", "/user/24f6/find/x", "", 404, `{"message":"no such path","status":404}`},
		{"escaped slash separates nothing", "GET", "/user/24f6%2Ffind", "", 404, none},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			status, got := s.ask(tc.method, tc.path, tc.body)
			if status != tc.status || tc.want != "" && got != tc.want {
				t.Errorf("got %d %s\nwant %d %s", status, got, tc.status, tc.want)
			}
		})
	}
}

func TestContentType(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	for contentType, want := range map[string]int{
		"application/json":                200,
		"application/json; charset=utf-8": 200,
		"text/plain":                      400,
		"":                                400,
	} {
		resp, err := http.Post(s.url+"/user", contentType, strings.NewReader(`{"username":"a"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: got %d, want %d", contentType, resp.StatusCode, want)
		}
	}
}

func TestCertificatesAreShownInLinesOf64(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	var ca struct{ Certificate string }
	s.must("GET", "/ca/IOTmidCA", "", &ca)
	lines := strings.Split(ca.Certificate, "\n")
	for i, line := range lines {
		if len(line) > 64 || len(line) < 64 && i < len(lines)-1 {
			t.Errorf("line %d has %d characters", i+1, len(line))
		}
	}
	der, err := base64.StdEncoding.DecodeString(ca.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.ca.Certificate().Raw, der); diff != "" {
		t.Error(diff)
	}
	var answer struct{ CRL string }
	s.must("GET", "/ca/IOTmidCA/crl?update=true", "", &answer)
	if strings.ContainsAny(answer.CRL, "\r\n") {
		t.Error("the CRL isn't on one line")
	}
}

func TestHostileNames(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	for _, name := range []string{
		"", " ", "x ", ".", "..", "a\nb", "a\rb", "a\x00b", "a\tb", "\u2028", "\u200b", "a\u202eb", "a\ufffdb", "a;b", "a!b", "a%b", "a?b", "a$b", "a~b", "a<b", "a>b", "a`b",
		strings.Repeat("x", 251),
	} {
		if status, text := s.ask("POST", "/user", asJSON(map[string]string{"username": name})); status != 400 {
			t.Errorf("user %q: got %d %s, want 400", name, status, text)
		}
		if strings.TrimSpace(name) == "" {
			continue
		}
		dn := "CN=" + strings.NewReplacer(";", `\;`, "<", `\<`, ">", `\>`).Replace(name)
		if status, text := s.ask("POST", "/user", asJSON(map[string]string{"username": "x", "subjectDN": dn})); status != 400 && strings.TrimSpace(name) == name {
			t.Errorf("subject %q: got %d %s, want 400", dn, status, text)
		}
	}
	for _, path := range []string{"/user/a%00b", "/user/a%0Ab", "/user/%ff", "/ca/%0d", "/sign/%7f/pkcs10"} {
		method := "GET"
		if strings.HasPrefix(path, "/sign") {
			method = "POST"
		}
		if status, text := s.ask(method, path, "{}"); status != 400 {
			t.Errorf("%s: got %d %s, want 400", path, status, text)
		}
	}
}

// Names that make it into a certificate exactly as they are.
func TestNamesInCertificates(t *testing.T) {
	for _, name := range []string{"admin:5c6512", "a/b", "a,O=b", "CN=x", `a\b`, "a+b", `"a"`, "#a", "a b", "gerät:äöü", "a=b", "24f6"} {
		s := serve(t, newDir(t), localca.Options{}) // a key is one user's
		s.register(name)
		status, text := s.sign(name, newRequest(t, keys()[0], nil))
		cert := s.certificate(status, text)
		if got := cert.Subject.CommonName; got != name || len(cert.Subject.Names) != 1 {
			t.Errorf("got subject %v, want only CN %q", cert.Subject, name)
		}
		var answer struct{ Certs []any }
		s.must("GET", "/user/"+url.PathEscape(name)+"/find", "", &answer)
		if len(answer.Certs) != 1 {
			t.Errorf("%q has %d certificates, want 1", name, len(answer.Certs))
		}
	}
}
