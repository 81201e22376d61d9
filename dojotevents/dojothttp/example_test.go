package dojothttp_test

import (
	"context"
	"fmt"
	"log"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojothttp"
)

func ExampleDeviceManager() {
	platform := dojoteventstest.NewPlatform()
	defer platform.Close()
	platform.AddDevices("admin", "e06357", "efac")

	manager := &dojothttp.DeviceManager{URL: platform.URL}
	present := func(yield func(tenant, id string) bool) {
		_ = yield("admin", "efac") && yield("admin", "8fa3")
	}
	plan, err := dojotevents.NewPlan(manager.Devices(context.Background(), "admin"), present)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan)
	for e := range plan.Events() {
		fmt.Println(e)
	}
	// Output:
	// devices: 1 to create, 1 to remove, 1 unchanged
	// create admin:e06357
	// remove admin:8fa3
}
