package dojotevents_test

import (
	"fmt"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

func ExampleDecode() {
	values := []string{
		`{"event":"create","data":{"id":"e06357","label":"rain gauge","attrs":{}},"meta":{"service":"admin"}}`,
		`{"event":"removed","data":{"id":"efac"},"meta":{"service":"admin"}}`,
		`{"event":"create","data":{"id":"e06357"},"meta":{}}`,
	}
	for _, value := range values {
		e, err := dojotevents.Decode([]byte(value))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(e.Kind, e.Tenant, e.DeviceID)
	}
	// Output:
	// create admin e06357
	// remove admin efac
	// device event: meta.service: missing
}
