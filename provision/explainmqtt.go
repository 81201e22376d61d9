package provision

import (
	"errors"
	"fmt"
)

// explainMQTT knows what ended a session after TLS was fine.
func explainMQTT(err error) (e Explanation, ok bool) {
	var (
		connack *ConnackError
		puback  *PubackError
		ended   *DisconnectError
	)
	switch {
	case errors.As(err, &connack):
		return explainConnack(connack.Reason), true
	case errors.As(err, &puback):
		return explainPuback(puback), true
	case errors.As(err, &ended):
		return explainReason("the broker ended the connection", ended.Reason), true
	case errors.Is(err, errNotMQTT):
		return Explanation{
			"what answers on that port speaks TLS, but not MQTT",
			"use the port of the broker's TLS listener, 8883 by custom"}, true
	case errors.Is(err, errNoConnack) && isTimeout(err):
		return Explanation{
			"TLS is fine, but nobody answered MQTT in time: the port is of another service, such as HTTPS, or the broker is busy, with a large ACL file for example",
			"check the port, and the broker's load"}, true
	case errors.Is(err, errNoConnack) && isEnd(err):
		return Explanation{
			"TLS is fine, but the connection was closed instead of an answer to MQTT: the port is of another service, such as HTTPS or MQTT over websockets, or the broker ended",
			"check the port, and look into the broker's log"}, true
	case errors.Is(err, errNoPuback) && isEnd(err):
		return Explanation{
			"the broker let the client in, but closed the connection instead of confirming the message",
			"look into its log; it may have ended, or lack memory"}, true
	}
	return Explanation{}, false
}

// reasons are the codes by which a broker refuses a message or ends a
// connection (MQTT 5.0, sections 3.4.2.1 and 3.14.2.1). The causes are said of
// the broker.
var reasons = map[byte]Explanation{
	0x80: {"it gives no reason", "look into its log"},
	0x81: invalidPacket,
	0x82: invalidPacket,
	0x83: {"it has a reason that MQTT does not know", "look into its log"},
	0x87: {"it does not let this client do that", "look into its access rules, and those of its plugins"},
	0x89: {"it is busy", "try again later"},
	0x8b: {"it shuts down", "try again later"},
	0x8e: {"another client with the same id has connected", "use one id for one client"},
	0x90: {"it does not take that topic's name", "choose one without wildcards and with at most 200 levels"},
	0x95: {"the message is too large for it", "send a smaller one, or raise its message_size_limit or max_packet_size"},
	0x96: {"messages come faster than it wants", "send fewer"},
	0x97: {"a quota is exceeded, of messages or memory", "send less, or raise the broker's quota"},
	0x98: {"somebody has ordered so", "ask the broker's administrator"},
	0x99: {"the payload is not of the format that it wants", "look into the rules of its plugins"},
	0x9b: {"it takes no message with QoS 1 (max_qos)", "send with QoS 0, or raise max_qos"},
}

// invalidPacket is what Mosquitto says of a topic, too, with either code.
var invalidPacket = Explanation{"a packet is not what MQTT allows; so it is with a topic that has wildcards, control characters or more than 200 levels",
	"choose another topic, or look into the broker's log"}

const (
	reasonBadUserName   = 0x86 // of a CONNACK to one without a user name
	reasonNotAuthorized = 0x87 // of a PUBACK to a message that the access rules refuse
)

func explainReason(what string, reason byte) Explanation {
	e, ok := reasons[reason]
	if !ok {
		e = Explanation{fmt.Sprintf("reason code 0x%02x", reason), "look into its log"}
	}
	e.Cause = what + ": " + e.Cause
	return e
}

func explainPuback(err *PubackError) Explanation {
	if err.Reason == reasonNotAuthorized {
		return Explanation{
			fmt.Sprintf("the broker's access rules do not let this client publish to %q, so the message is discarded", err.Topic),
			remedyRules + "; see that the broker takes that name from the certificate (use_identity_as_username)"}
	}
	return explainReason(fmt.Sprintf("the broker discards the message to %q", err.Topic), err.Reason)
}

// remedyRules is for a message that was discarded.
const remedyRules = "check that the device is registered, and that tenant and id in the topic are its own; " +
	"or add a rule for its user name to the ACL file and have the broker read that (SIGHUP)"

// connacks are the codes by which a broker refuses to connect (MQTT 5.0,
// section 3.2.2.2, and 3.1.1, section 3.2.2.3).
var connacks = map[byte]Explanation{
	0x01: oldBroker,
	0x84: oldBroker,
	0x02: badClientID,
	0x85: badClientID,
	0x04: noUserName,
	0x86: noUserName,
	0x05: unknownUser,
	0x87: unknownUser,
	0x80: {"the broker refuses the connection and gives no reason; so it does with an empty client id where allow_zero_length_clientid is false",
		"choose a client id, or look into the broker's log"},
}

var (
	oldBroker   = Explanation{"the broker does not speak MQTT 5", "use a Mosquitto of 1.6 or later"}
	badClientID = Explanation{"the broker does not accept the client's id", "use another one, without + and #"}
	noUserName  = Explanation{"the broker wants a user name, and finds none: the certificate has no common name that can be used, or the broker did not ask for it",
		"have the certificate issued with a common name; set require_certificate for that listener"}
	unknownUser = Explanation{"the broker does not let this user in: wrong password, unknown user, none at all, or a client id without the prefix that it wants (clientid_prefixes)",
		"see that it takes the user name from the certificate (use_identity_as_username), or allows anonymous clients"}
)

func explainConnack(reason byte) Explanation {
	if e, ok := connacks[reason]; ok {
		return e
	}
	return explainReason("the broker refuses the connection", reason)
}
