// Package provision gets brokers and devices their keys and certificates and
// keeps them good: it makes a key and a certificate request, has a CA sign it,
// checks what comes back, and writes the files that Mosquitto and its clients
// read.
//
// An [Identity] says who it is for and where the files are; [Identity.Ensure]
// brings them into order. Run it as often as you like: what is good stays, what
// is missing, expired, mismatched or of another CA is made anew, and an
// interrupted run is taken up where it stopped.
//
//	id := provision.Identity{
//		CommonName: "24f6",
//		Files:      provision.DeviceFiles("certs", "24f6", "IOTmidCA"),
//	}
//	steps, err := id.Ensure(ctx, ca)
//
// Any CA will do that can name its chain and sign a request: see [CA]. The
// files' names are those of dojot's certificate retriever ([DeviceFiles]) and
// MQTT manager ([BrokerFiles]).
//
// A [Renewer] does so on the dates that matter, and tells the files' user.
//
// [TLSConfig] turns the files into a client's configuration. [Check] connects
// to a broker with them, in earnest, and says what is wrong and what to do;
// [Explain] does for the error of any connection that TLS or the network
// refused, and for the reason codes of MQTT.
//
// Not done here: brokers' revocation lists (package crl), and end entities, which
// somebody has to register at the CA before it signs for them (package ejbca).
package provision
