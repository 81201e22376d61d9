package dojoteventstest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// OwnershipCreateEvent returns the event of a certificate that was given to a
// device, as x509-identity-mgmt sends it.
func OwnershipCreateEvent(tenant, id string, cert *x509.Certificate) dojotevents.Event {
	return ownershipEvent(dojotevents.OwnershipCreate, tenant, id, cert, ownership{Owner: &owner{id}})
}

// OwnershipUpdateEvent returns the event of a certificate that was another
// device's before.
func OwnershipUpdateEvent(tenant, previousID, id string, cert *x509.Certificate) dojotevents.Event {
	return ownershipEvent(dojotevents.OwnershipUpdate, tenant, id, cert, ownership{Previous: &owner{previousID}, Owner: &owner{id}})
}

// OwnershipDeleteEvent returns the event of a certificate that was taken from a
// device, or revoked.
func OwnershipDeleteEvent(tenant, id string, cert *x509.Certificate) dojotevents.Event {
	return ownershipEvent(dojotevents.OwnershipDelete, tenant, id, cert, ownership{Previous: &owner{id}})
}

// TrustedCACreateEvent returns the event of a tenant's own CA.
func TrustedCACreateEvent(tenant string, ca *x509.Certificate) dojotevents.Event {
	return trustedCAEvent(dojotevents.TrustedCACreate, tenant, ca)
}

// TrustedCADeleteEvent returns the event of a CA that is not to be trusted any
// more.
func TrustedCADeleteEvent(tenant string, ca *x509.Certificate) dojotevents.Event {
	return trustedCAEvent(dojotevents.TrustedCADelete, tenant, ca)
}

type ownership struct {
	Fingerprint string `json:"fingerprint"`
	PEM         string `json:"certificatePem"`
	IssuedHere  bool   `json:"issuedByDojotPki"`
	Registered  bool   `json:"autoRegistered"`
	Previous    *owner `json:"previousBelongsTo,omitempty"`
	Owner       *owner `json:"belongsTo,omitempty"`
}

type owner struct {
	Device string `json:"device"`
}

func ownershipEvent(kind dojotevents.Kind, tenant, id string, cert *x509.Certificate, data ownership) dojotevents.Event {
	data.Fingerprint, data.PEM, data.IssuedHere = fingerprint(cert), encodePEM(cert), true
	e := x509Event(kind, tenant, data.Fingerprint, data)
	e.DeviceID = id
	return e
}

func trustedCAEvent(kind dojotevents.Kind, tenant string, ca *x509.Certificate) dojotevents.Event {
	return x509Event(kind, tenant, fingerprint(ca), struct {
		Fingerprint string `json:"caFingerprint"`
		PEM         string `json:"caPem"`
		Allow       bool   `json:"allowAutoRegistration"`
	}{fingerprint(ca), encodePEM(ca), true})
}

func x509Event(kind dojotevents.Kind, tenant, fingerprint string, data any) dojotevents.Event {
	return dojotevents.Event{
		Kind: kind, Tenant: tenant, Fingerprint: fingerprint, Envelope: dojotevents.EnvelopeX509,
		Data: marshal(data),
		Meta: marshal(struct {
			ID          string `json:"msgid"`
			Timestamp   int64  `json:"timestamp"` // milliseconds
			Service     string `json:"service"`
			Tenant      string `json:"tenant"`
			ContentType string `json:"contentType"`
		}{"0b7c5a52-7d0e-4a9c-8a51-40c6f2f0f3d1", 1620311742518, "x509-identity-mgmt", tenant, "application/vnd.dojot.x509-identities+json"}),
	}
}

func encodePEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// fingerprint returns a certificate's SHA-256 as dojot writes it.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	pairs := make([]string, 0, len(sum))
	for _, b := range sum {
		pairs = append(pairs, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return strings.Join(pairs, ":")
}
