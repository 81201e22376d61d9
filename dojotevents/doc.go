// Package dojotevents reads and writes the events that dojot publishes about
// devices, their certificates and tenants: one JSON document in each Kafka
// record's value.
//
//	{"event": "create", "data": {"id": "e06357", …}, "meta": {"service": "admin"}}
//
// [Decode] answers what happened ([Kind]), to which device, of which tenant,
// and leaves the rest of the document as it is. Nothing here depends on a
// Kafka client; package dojotkafka brings one.
//
// # What is accepted
//
// Events come in three envelopes, which Decode tells apart by the names on top:
// event, else metadata, else type.
//
//	{"event": "create", "data": {"id": …}, "meta": {"service": …}}        device-manager
//	{"metadata": {"tenant": …}, "data": {"eventType": "ownership.create",
//	    "eventData": {"fingerprint": …, "belongsTo": {"device": …}}}}     x509-identity-mgmt
//	{"type": "CREATE", "tenant": …}                                       auth
//
// The whole value must be one JSON object in valid UTF-8, within [MaxSize] and
// [MaxDepth]: the texts that encoding/json takes, no others. Names are matched
// exactly, as dojot writes them. In the objects that are read, such as the
// document, data and meta, a name that occurs twice is an error, because two
// readers of such a document may see two different devices. Other members are
// passed through.
//
//	kind                                       needs
//	create update remove configure actuate     data.id and meta.service
//	template.update                            meta.service
//	ownership.create, .update, .delete         data.eventData.fingerprint; metadata.tenant if a device's
//	trustedca.create, .delete                  data.eventData.caFingerprint and metadata.tenant
//	tenancy.create, .delete                    tenant
//	any other                                  nothing
//
// A kind in another envelope than its own is an error. An identifier that is
// needed must be a string that isn't empty, within [MaxName] and without
// U+FFFD, which is what half of a surrogate pair becomes; so must any text that
// names a certificate's owner. What isn't needed is returned if it is such a
// string, and left out if not. Which characters an identifier may hold is not
// decided here: dojot lets a tenant's name be anything, so that whoever puts
// one into a file, a path or a topic has to look at it first.
//
// # Names of events
//
// Device-manager said created, updated and removed until December 2017, and
// some consumers wait for delete, which it never sent. Decode reads all of
// these as [Create], [Update] and [Remove]. Kinds that it doesn't know are
// passed through: they are news, not errors.
//
// # Secrets
//
// An update may carry a device's pre-shared key in clear. No error of this
// package contains text from the document, and an [Event] prints and logs
// without its Data and Meta, and is written without them by encoding/json.
package dojotevents
