package crl_test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/dojot/mqtt-manager-go/crl"
)

// seeds adds the lists in testdata, as they are and as DER, in which a change
// is more likely to be a new list.
func seeds(f *testing.F) {
	var names []string
	for _, pattern := range []string{"crl_*.pem", "lint/*.pem"} {
		found, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil || len(found) == 0 {
			f.Fatal(pattern, found, err)
		}
		names = append(names, found...)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		if block, _ := pem.Decode(data); block != nil {
			f.Add(block.Bytes)
		}
	}
}

// FuzzParse: what is read can be written in every encoding and is the same.
func FuzzParse(f *testing.F) {
	seeds(f)
	list := midCA().list(f, 1, t0, 66)
	f.Add(list.Raw)
	f.Add([]byte(base64.StdEncoding.EncodeToString(list.Raw)))
	issuer := midCA().cert
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := crl.Parse(data)
		if err != nil {
			return
		}
		_ = crl.Verify(list, issuer, t0)
		for _, again := range [][]byte{list.Raw, crl.EncodePEM(list), []byte(base64.StdEncoding.EncodeToString(list.Raw))} {
			got, err := crl.Parse(again)
			if err != nil || !bytes.Equal(got.Raw, list.Raw) {
				t.Errorf("%q: got %v", again, err)
			}
		}
	})
}

// FuzzParseAll: the strict PEM reader finds no list that encoding/pem does
// not find, and all that it does.
func FuzzParseAll(f *testing.F) {
	seeds(f)
	for _, file := range crlfiles(midCA().list(f, 1, t0), mqttCA().list(f, 1, t0)) {
		f.Add(file.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := crl.ParseAll(data)
		if err != nil {
			return
		}
		var want [][]byte
		for rest := data; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type == "X509 CRL" {
				want = append(want, block.Bytes)
			}
		}
		if len(lists) != len(want) {
			t.Fatalf("got %d lists, encoding/pem finds %d", len(lists), len(want))
		}
		for i, l := range lists {
			if !bytes.Equal(l.Raw, want[i]) {
				t.Errorf("list %d differs", i)
			}
		}
	})
}

// FuzzIndex: what NewIndex reads, the standard library reads, and both find
// the same entries; Parse reads the same.
func FuzzIndex(f *testing.F) {
	seeds(f)
	f.Add(midCA().forge(t0, func(l *tbsCertList) { l.Revoked = oddEntries() }))
	f.Fuzz(func(t *testing.T, data []byte) {
		ix, err := crl.NewIndex(data)
		list, parseErr := crl.Parse(data)
		if (err == nil) != (parseErr == nil) {
			t.Fatalf("NewIndex: %v, Parse: %v", err, parseErr)
		}
		if err != nil {
			return
		}
		sameEntries(t, ix, list)
		if _, err := crl.Lint(list); err != nil {
			t.Errorf("Lint: %v", err)
		}
	})
}
