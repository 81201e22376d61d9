package provision_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
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

// Why does the device not get through?
func ExampleCheck() {
	server := ejbcatest.NewServer()
	defer server.Close()
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	files := provision.DeviceFiles(dir, "24f6", "IOTmidCA")
	id := provision.Identity{CommonName: "24f6", Files: files}
	if _, err := id.Ensure(context.Background(), &ejbca.Issuer{Client: server.Client(), User: "24f6", Register: true}); err != nil {
		log.Fatal(err)
	}

	err = provision.Check(context.Background(), provision.Target{
		Addr:  "127.0.0.1:1", // where no broker is
		Files: files,
		Topic: "/admin/24f6/attrs", Payload: []byte(`{"rain": 3.5}`),
	})
	var problem *provision.Problem
	if errors.As(err, &problem) {
		fmt.Println("cause: ", problem.Cause)
		fmt.Println("remedy:", problem.Remedy)
	}
	// Output:
	// cause:  nothing listens there
	// remedy: check host and port, and that the broker runs
}

// A broker's identity is kept fresh, and the broker told.
func ExampleRenewer() {
	renewer := provision.Renewer{
		Identity: &provision.Identity{
			CommonName: "mosquitto",
			DNSNames:   []string{"mqtt", "mosquitto", "localhost"},
			Files:      provision.BrokerFiles("/etc/mosquitto/certs"),
			Usages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			Owner:      &provision.Owner{UID: 1883, GID: 1883},
		},
		CA: &ejbca.Issuer{Client: &ejbca.Client{BaseURL: "http://ejbca:5583"}, User: "mosquitto", Register: true},
		Changed: func(ctx context.Context) error {
			return exec.CommandContext(ctx, "systemctl", "reload", "mosquitto").Run()
		},
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	log.Fatal(renewer.Run(ctx))
}
