// Package dojoteventstest is dojot's side of device events, for tests and for
// trying things out: a Kafka in the same process, the events that
// dojot's services would send, and what they answer over HTTP.
//
//	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Tenants: []string{"admin"}})
//	…
//	defer kafka.Close()
//	err = kafka.Publish(ctx, dojoteventstest.CreateEvent("admin", "e06357"))
//
// [Kafka] speaks Kafka's protocol on a loopback port, to any client, and can
// keep topics and committed offsets in a folder across restarts. It is one
// broker without replication, TLS or authentication: not for production.
// [Platform] answers for device-manager, data-broker and auth.
package dojoteventstest
