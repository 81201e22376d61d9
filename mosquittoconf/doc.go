// Package mosquittoconf renders mosquitto.conf for a broker of TLS devices,
// reads the ones that exist, and checks the files that they name.
//
// [Config] is what we write. Its zero values are the secure choices: TLS with
// client certificates, whose common name becomes the MQTT user name, and no
// anonymous client.
//
//	conf := mosquittoconf.Config{
//		ACLFile: "/mosquitto/access.acl",
//		Listeners: []mosquittoconf.Listener{{Port: 8883, TLS: &mosquittoconf.TLS{
//			CAFile:   "/mosquitto/certs/ca.crt",
//			CertFile: "/mosquitto/certs/mosquitto.crt",
//			KeyFile:  "/mosquitto/certs/mosquitto.key",
//			CRLFile:  "/mosquitto/certs/ca.crl",
//		}}},
//	}
//	_, err := conf.WriteTo(w)
//
// A [Bridge] in it connects this broker to another one; a hub's certificate of a
// public CA is kept fresh by a [Pair].
//
// [Parse] reads any configuration without losing a byte of it. [File.Vet] says
// what a broker of some version makes of it: what it refuses, and what it
// loads without doing what the configuration says. [File.CheckFiles] says the
// same of the material on disk: certificates that do not match their keys,
// lists that have expired, files that the broker's user may not read. [Options]
// is what brokers know. A [Section] can be edited in place, and [File.Migrate]
// edits a configuration of 2.0 for 2.1.
//
// [HashDir] makes a folder of certificates and revocation lists into the
// hashed directory that capath needs, without openssl, and [AddCRL] puts a new
// list there for a running broker to find without a signal.
//
// # The format
//
// One option a line: its name, spaces, its value. A "#" in the first column
// begins a comment, and only there: behind a value it belongs to the value, or
// is ignored if that is a number or a boolean. A tab separates nothing. A
// "listener" line begins a listener, to which the listener's options below it
// belong; in front of the first one they make a default listener, on port
// 1883 of every interface unless "port" says otherwise. "connection" begins a
// bridge and "plugin" a plugin in the same way, each independently: a listener
// option below a "connection" still belongs to the listener above.
//
// What is said here of brokers was tried with Mosquitto 2.0.11, 2.0.21 and
// 2.1.2, and what is said of older ones with 1.4.13 and 1.6.15.
//
// The package does not say what access rules mean: package acl does.
package mosquittoconf
