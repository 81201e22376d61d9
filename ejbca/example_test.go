package ejbca_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

func Example() {
	server := ejbcatest.NewServer() // stands for http://ejbca:5583
	defer server.Close()
	ctx := context.Background()
	client := &ejbca.Client{BaseURL: server.URL}

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		log.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		log.Fatal(err)
	}

	if err := client.PutUser(ctx, &ejbca.User{Name: "admin:5c6512", Password: "for once"}); err != nil {
		log.Fatal(err)
	}
	cert, err := client.Sign(ctx, "admin:5c6512", "for once", csr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cert.Subject, "by", cert.Issuer)

	_, err = client.Sign(ctx, "admin:5c6512", "for once", csr)
	fmt.Println("again:", errors.Is(err, ejbca.ErrGenerated))

	if err := client.RevokeUser(ctx, "admin:5c6512", crl.KeyCompromise); err != nil {
		log.Fatal(err)
	}
	issuer := &ejbca.Issuer{Client: client, User: "admin:5c6512"}
	list, err := issuer.FreshCRL(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("revoked:", len(list.RevokedCertificateEntries))
	// Output:
	// CN=admin:5c6512 by CN=IOTmidCA,O=EJBCA IOT,C=SE
	// again: true
	// revoked: 1
}
