package ejbcatest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

// A service that answers half a list, then 503, then as it should: the client
// asks again.
func ExampleServer_Intercept() {
	server := ejbcatest.NewServer()
	defer server.Close()
	asked := 0
	server.Intercept(func(w http.ResponseWriter, r *http.Request) (handled bool) {
		asked++
		switch asked {
		case 1:
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"CRL":"MII`)
			return true
		case 2:
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	list, err := server.Client().CRL(context.Background(), server.CAName)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(list.Issuer)
	for _, r := range server.Requests() {
		fmt.Println(r.Method, r.Path)
	}
	// Output:
	// CN=IOTmidCA,O=EJBCA IOT,C=SE
	// GET /ca/IOTmidCA/crl
	// GET /ca/IOTmidCA/crl
	// GET /ca/IOTmidCA/crl
}

// dojot's login in front of the CA.
func ExampleGateway() {
	server := ejbcatest.NewServer()
	defer server.Close()
	gateway := ejbcatest.NewGateway(server, ejbcatest.Account{Username: "admin", Password: "admin"})
	front := httptest.NewServer(gateway)
	defer front.Close()

	client := &ejbca.Client{BaseURL: front.URL}
	_, err := client.CAs(context.Background())
	fmt.Println("without a token:", errors.Is(err, ejbca.ErrDenied))

	login := &ejbca.Credentials{BaseURL: front.URL, Username: "admin", Password: "admin"}
	client.Token = login.Token
	names, err := client.CAs(context.Background())
	fmt.Println(names, err)
	// Output:
	// without a token: true
	// [IOTmidCA] <nil>
}
