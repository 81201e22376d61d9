// Package dojothttp asks dojot's HTTP services what Kafka doesn't say: which
// topic a tenant's events are in ([DataBroker]), which tenants there are
// ([Auth]), and which devices ([DeviceManager]).
//
//	broker := &dojothttp.DataBroker{URL: "http://data-broker"}
//	auth := &dojothttp.Auth{URL: "http://auth:5000"}
//	consumer := &dojotkafka.Consumer{
//		Brokers: …,
//		Resolve: broker.Resolver(auth.Tenants, dojotevents.Subject),
//	}
//
// Requests carry the token that dojot's own services send to each other: it
// names a tenant and is not signed ([Token]). Behind dojot's API gateway, give
// an HTTPClient that sets a real one.
//
// Answers are read up to a limit, and no error shows what they say except for
// the message of a refusal. Nothing is tried again here: callers have their own
// pace.
package dojothttp
