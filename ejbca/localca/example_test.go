package localca_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
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

// A CA that follows dojot's devices through Kafka, as EJBCA-REST did.
func ExampleDevices() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Tenants: []string{"admin"}})
	if err != nil {
		log.Fatal(err)
	}
	defer kafka.Close()
	err = kafka.Publish(ctx,
		dojoteventstest.CreateEvent("admin", "5c6512"),
		dojoteventstest.CreateEvent("admin", "no:id"),
		dojoteventstest.CreateEvent("admin", "e06357"),
		dojoteventstest.RemoveEvent("admin", "e06357"))
	if err != nil {
		log.Fatal(err)
	}
	ca, err := localca.OpenTemporary(localca.Options{KeySize: 256})
	if err != nil {
		log.Fatal(err)
	}
	defer ca.Close()

	devices := &localca.Devices{CA: ca, TenantInName: true}
	consumer := &dojotkafka.Consumer{Brokers: kafka.Brokers()}
	consumer.Run(ctx, func(ctx context.Context, batch []dojotkafka.Record) error {
		var hopeless []error
		for _, r := range batch {
			err := devices.Apply(ctx, string(r.Event.Kind), r.Event.Tenant, r.Event.DeviceID)
			if errors.Is(err, localca.ErrIdentity) {
				fmt.Println("set aside:", err)
				hopeless = append(hopeless, &dojotkafka.RecordError{Position: r.Position, Err: err})
			} else if err != nil {
				return err // all again, later
			}
			if r.Offset == 3 {
				cancel() // enough for an example
			}
		}
		return errors.Join(hopeless...)
	})
	for _, user := range []string{"admin:5c6512", "admin:e06357"} {
		w := httptest.NewRecorder()
		ca.ServeHTTP(w, httptest.NewRequest("GET", "/user/"+user, nil))
		fmt.Println(user, w.Code)
	}
	// Output:
	// set aside: localca: device "no:id" of tenant "admin": no end entity for this device: a colon in the id, which separates it from the tenant
	// admin:5c6512 200
	// admin:e06357 404
}
