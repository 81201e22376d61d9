package provision_test

import (
	"os"
	"testing"

	"github.com/dojot/mqtt-manager-go/provision"
)

// Whatever is in the files, it is judged without harm, and what was not asked
// for stays.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		"", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
	} {
		f.Add([]byte(seed))
	}
	ca := newTestCA(f, "ca")
	good := crashIdentity(f.TempDir())
	if _, err := good.Ensure(f.Context(), ca); err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{good.Files.Key, good.Files.Cert, good.Files.CSR, good.Files.CRL} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		id := crashIdentity(dir)
		for _, path := range []string{id.Files.CA, id.Files.Key, id.Files.CSR, id.Files.Cert, id.Files.CRL} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := provision.TLSConfig(id.Files); err == nil {
			t.Error("one file is key and certificate")
		}
		if steps, err := id.Plan(); err == nil && steps[3].Action == provision.Kept {
			t.Error("the certificate is good")
		}
	})
}
