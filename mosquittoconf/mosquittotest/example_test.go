package mosquittotest_test

import (
	"fmt"
	"log"
	"net"

	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

func ExampleStart() {
	broker, err := mosquittotest.Start(mosquittotest.Options{Conf: "allow_anonymous true"})
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Close()
	conn, err := net.Dial("tcp", broker.Addr()) // or any MQTT client
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(broker.Reload())
	// Output: <nil>
}
