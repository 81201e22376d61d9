package localca_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

func Example() {
	dir, err := os.MkdirTemp("", "ca-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ca, err := localca.Open(dir, localca.Options{KeySize: 2048})
	if err != nil {
		log.Fatal(err)
	}
	defer ca.Close()
	fmt.Println(ca.Certificate().Subject)

	server := httptest.NewServer(ca) // or http.ListenAndServe("127.0.0.1:5583", ca)
	defer server.Close()
	resp, err := http.Get(server.URL + "/ca")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(os.Stdout, resp.Body)
	// Output:
	// CN=IOTmidCA,O=EJBCA IOT,C=SE
	// {"CAs":[{"id":576968287,"name":"IOTmidCA"}]}
}

func ExampleDevices() {
	dir, err := os.MkdirTemp("", "ca-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ca, err := localca.Open(dir, localca.Options{KeySize: 2048})
	if err != nil {
		log.Fatal(err)
	}
	defer ca.Close()

	devices := &localca.Devices{CA: ca, TenantInName: true}
	message := `{"event":"create","meta":{"service":"admin"},"data":{"id":"5c6512"}}` // from Kafka
	event, err := dojotevents.Decode([]byte(message))
	if err != nil {
		log.Fatal(err)
	}
	if err := devices.Apply(context.Background(), string(event.Kind), event.Tenant, event.DeviceID); err != nil {
		log.Fatal(err)
	}

	w := httptest.NewRecorder()
	ca.ServeHTTP(w, httptest.NewRequest("GET", "/user/admin:5c6512", nil))
	fmt.Println(w.Code)
	// Output: 200
}
