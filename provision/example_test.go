package provision_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/provision"
)

func ExampleIdentity_Ensure() {
	server := ejbcatest.NewServer() // or your EJBCA-REST
	defer server.Close()
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	id := provision.Identity{
		CommonName: "24f6",
		Files:      provision.DeviceFiles(dir, "24f6", "IOTmidCA"),
	}
	issuer := &ejbca.Issuer{Client: server.Client(), User: "24f6", Register: true}
	for range 2 {
		steps, err := id.Ensure(context.Background(), issuer)
		if err != nil {
			log.Fatal(err)
		}
		for _, s := range steps {
			fmt.Println(filepath.Base(s.Path), s.Action)
		}
	}
	// Output:
	// IOTmidCA.crt made
	// 24f6.key made
	// 24f6.csr made
	// 24f6.crt made
	// IOTmidCA.crl made
	// IOTmidCA.crt kept
	// 24f6.key kept
	// 24f6.csr kept
	// 24f6.crt kept
	// IOTmidCA.crl kept
}
