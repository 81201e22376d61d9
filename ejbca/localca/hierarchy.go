package localca

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
)

// maxDepth is far beyond any real hierarchy.
const maxDepth = 8

// SubCA describes a CA that another one issued. Its subject is CN=<Name>.
type SubCA struct {
	// Name is unique among all CAs.
	Name string
	// KeySize is as in [Options]. Zero means that of the root.
	KeySize int
	// Lifetime is how long the certificate is valid, never beyond that of the
	// CA above. Zero means as long as that.
	Lifetime time.Duration
	// SubCAs are the CAs below this one.
	SubCAs []SubCA
}

// DojotSubCAs returns the CAs that dojot has below IOTmidCA: PROTOCOL, and
// MQTT and COAP below that. They end with the root; the original's ended after
// one and two years.
func DojotSubCAs() []SubCA {
	return []SubCA{{Name: "PROTOCOL", SubCAs: []SubCA{
		{Name: "MQTT", KeySize: 2048},
		{Name: "COAP", KeySize: 2048},
	}}}
}

// ParseHierarchy reads a root's name and its sub-CAs from a description in the
// form of EJBCA-REST's caHierarchy.json:
//
//	{"name": "IOTmidCA", "subca": [
//	  {"name": "PROTOCOL", "validity": "730", "keysize": "4096", "subca": [
//	    {"name": "MQTT", "validity": "365", "keysize": "2048", "subca": []}]}]}
//
// A validity is in days; it and the key size may also be numbers, or missing.
// Whether the whole makes sense is [Open]'s to say.
func ParseHierarchy(data []byte) (name string, subCAs []SubCA, err error) {
	var root describedCA
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&root); err != nil {
		return "", nil, fmt.Errorf("localca: description of the CAs: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return "", nil, errors.New("localca: description of the CAs: something follows it")
	}
	if root.Validity != "" || root.KeySize != "" {
		return "", nil, fmt.Errorf("localca: description of the CAs: the root %q has a validity or key size, which only sub-CAs may", root.Name)
	}
	subCAs, err = root.below()
	if err != nil {
		return "", nil, fmt.Errorf("localca: description of the CAs: %w", err)
	}
	return root.Name, subCAs, nil
}

// describedCA is a CA in caHierarchy.json.
type describedCA struct {
	Name     string        `json:"name"`
	Validity json.Number   `json:"validity"`
	KeySize  json.Number   `json:"keysize"`
	SubCAs   []describedCA `json:"subca"`
}

func (d describedCA) below() ([]SubCA, error) {
	var all []SubCA
	for _, sub := range d.SubCAs {
		days, err := sub.number("validity", sub.Validity)
		if err != nil {
			return nil, err
		}
		bits, err := sub.number("keysize", sub.KeySize)
		if err != nil {
			return nil, err
		}
		below, err := sub.below()
		if err != nil {
			return nil, err
		}
		all = append(all, SubCA{Name: sub.Name, KeySize: bits, Lifetime: time.Duration(days) * 24 * time.Hour, SubCAs: below})
	}
	return all, nil
}

// maxNumber is above any number of bits or days, and a century of days.
const maxNumber = 36_525

// number is 0 for one that is missing.
func (d describedCA) number(what string, text json.Number) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text.String())
	if err != nil || n < 1 || n > maxNumber {
		return 0, fmt.Errorf("CA %q: %s %q (want a number from 1 to %d)", d.Name, what, text, maxNumber)
	}
	return n, nil
}

func checkSubCAs(subCAs []SubCA, seen map[string]bool) error {
	for _, s := range subCAs {
		if err := checkCA(s.Name, cmp.Or(s.KeySize, minKeyBits)); err != nil {
			return err
		}
		if seen[s.Name] {
			return fmt.Errorf("two CAs are called %q", s.Name)
		}
		if s.Lifetime != 0 && s.Lifetime < time.Hour {
			return fmt.Errorf("CA %q: lifetime %v (want an hour or more)", s.Name, s.Lifetime)
		}
		seen[s.Name] = true
		if err := checkSubCAs(s.SubCAs, seen); err != nil {
			return err
		}
	}
	return nil
}

// makeSubCAs makes those that don't exist.
func (ca *CA) makeSubCAs(parent *authority, subCAs []SubCA, keySize int, passphrase string) error {
	if len(subCAs) > 0 && parent.depth() == maxDepth {
		return fmt.Errorf("CA %q: more than %d levels of CAs", subCAs[0].Name, maxDepth)
	}
	for _, s := range subCAs {
		a := ca.byName(s.Name)
		switch {
		case a == nil:
			var err error
			if a, err = ca.makeSubCA(parent, s, cmp.Or(s.KeySize, keySize), passphrase); err != nil {
				return fmt.Errorf("making CA %q: %w", s.Name, err)
			}
			ca.cas = append(ca.cas, a)
			ca.log.Info("CA made", "name", a.name, "issuer", parent.name, "notAfter", a.cert.NotAfter)
		case a.parent != parent:
			return fmt.Errorf("CA %q exists, but not below %q", s.Name, parent.name)
		}
		if err := ca.makeSubCAs(a, s.SubCAs, keySize, passphrase); err != nil {
			return err
		}
	}
	return nil
}

func (ca *CA) makeSubCA(parent *authority, s SubCA, keySize int, passphrase string) (*authority, error) {
	lifetime := cmp.Or(s.Lifetime, rootLifetime)
	a, err := newAuthority(s.Name, []attribute{{"CN", s.Name}}, parent, keySize, lifetime, ca.now())
	if err != nil {
		return nil, err
	}
	return a, ca.update(context.Background(), func(tx *bbolt.Tx) error {
		if user := tx.Bucket(bucketSubjects).Get([]byte(a.dn)); user != nil {
			return fmt.Errorf("user %q has its name for a subject", user)
		}
		return errors.Join(
			storeAuthority(tx, a, passphrase),
			// The CA above can revoke it like any other certificate.
			parent.bucket(tx, bucketCerts).Put(a.cert.SerialNumber.Bytes(), a.cert.Raw),
		)
	})
}
