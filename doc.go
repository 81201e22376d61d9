// Package mqttmanager is the map of a toolkit for Mosquitto brokers with mutual
// TLS, and of the manager that keeps one in step with a dojot platform. There
// is no code here; each package stands alone and can be imported alone.
//
// Who may publish and receive what:
// [github.com/dojot/mqtt-manager-go/acl] reads, edits, evaluates, explains and
// durably stores Mosquitto's ACL files. [github.com/dojot/mqtt-manager-go/acl.Parse]
// and [github.com/dojot/mqtt-manager-go/acl.OpenStore] are where to start.
//
// Whose certificate is no longer good:
// [github.com/dojot/mqtt-manager-go/crl] signs, reads, verifies, installs and
// keeps fresh X.509 revocation lists, so that a broker never sees an empty, a
// foreign or an older one.
//
// How the broker is set up:
// [github.com/dojot/mqtt-manager-go/mosquittoconf] renders and reads
// mosquitto.conf and checks the files that it names as a broker would find
// them. [github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest] runs a
// real broker for tests.
//
// Where certificates come from:
// [github.com/dojot/mqtt-manager-go/ejbca] is a client of EJBCA-REST;
// [github.com/dojot/mqtt-manager-go/ejbca/localca] is a small CA that serves
// the same API, and [github.com/dojot/mqtt-manager-go/ejbca/ejbcatest] a CA for
// tests.
//
// How they get to brokers and devices:
// [github.com/dojot/mqtt-manager-go/provision] makes keys and requests, has
// them signed, checks what comes back, renews it, and explains why a
// connection was refused.
//
// What happens to devices:
// [github.com/dojot/mqtt-manager-go/dojotevents] decodes dojot's events,
// [github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka] consumes them
// without losing one,
// [github.com/dojot/mqtt-manager-go/dojotevents/dojothttp] asks dojot's services
// for topics, tenants and devices, and
// [github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest] is a Kafka
// with such events, and those services, for tests.
//
// The examples are programs of these packages: examples/manager keeps a broker
// in step with events, examples/retriever gets a device its certificate,
// examples/simulator publishes as a device.
package mqttmanager
