package mosquittoconf

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// Bridge is a connection of this broker to another one, as a client of it. It
// needs TLS, unless it is Plain.
//
// Of two brokers the one with a public address is the hub, and has a listener;
// the other one, the spoke, has the Bridge, so that it may be behind a firewall.
type Bridge struct {
	// Name is the connection's, unique in this broker. Unless ClientID is
	// set, the other broker knows the bridge as HOSTNAME.Name.
	Name string

	// Addresses are those of the other broker, host:port, the first one
	// preferred. The host is compared with the names in its certificate.
	Addresses []string

	// ClientID is the bridge's at the other broker, unique there.
	ClientID string

	// Topics are what crosses the bridge; at least one.
	Topics []BridgeTopic

	// TLS is the bridge's key material.
	TLS *BridgeTLS

	// Plain asks for a connection without TLS, which needs no TLS. Everybody
	// between the brokers can read and forge everything.
	Plain bool
}

// BridgeTLS is the key material of a bridge, in PEM files.
type BridgeTLS struct {
	// CAFile holds the CAs by which the other broker is known, CAPath is a
	// hashed directory of them (see [HashDir]); one of them is needed. For a
	// broker with a certificate of a public CA such as Let's Encrypt, that is
	// /etc/ssl/certs on most systems, or a file with that CA's root.
	CAFile, CAPath string

	// CertFile is the certificate that the bridge shows, followed by its
	// intermediate CAs, and KeyFile its private key, not encrypted. An
	// extended key usage must include clientAuth. Both or none.
	CertFile, KeyFile string
}

// Direction is the way of a message over a bridge.
type Direction string

const (
	Out  Direction = "out" // from this broker to the other one
	In   Direction = "in"
	Both Direction = "both"
)

// BridgeTopic is a filter and where its messages go. A message to a topic
// LocalPrefix + t here is one to RemotePrefix + t there, if Filter matches t.
type BridgeTopic struct {
	Filter                    string // without blanks
	Direction                 Direction
	QoS                       byte   // 0, 1 or 2
	LocalPrefix, RemotePrefix string // usually ending in "/"; may be empty
}

func (b *Bridge) render(out *bytes.Buffer, set func(comment, key, value string)) {
	set("A bridge to another broker,", "connection", b.Name)
	set("found at the first of these addresses that answers.", "address", strings.Join(b.Addresses, " "))
	if b.ClientID != "" {
		set("Its name there.", "remote_clientid", b.ClientID)
	}
	if b.TLS != nil {
		if b.TLS.CAFile != "" {
			set("The CAs by which the other broker is known; they switch TLS on.", "bridge_cafile", b.TLS.CAFile)
		}
		if b.TLS.CAPath != "" {
			set("The folder of CAs by which the other broker is known; it switches TLS on.", "bridge_capath", b.TLS.CAPath)
		}
		if b.TLS.CertFile != "" {
			set("The certificate that the bridge shows,", "bridge_certfile", b.TLS.CertFile)
			set("and its private key.", "bridge_keyfile", b.TLS.KeyFile)
		}
	}
	out.WriteString("# What crosses the bridge: filter, direction, QoS, prefix here, prefix there.\n")
	for _, t := range b.Topics {
		fmt.Fprintf(out, "topic %s %s %d %s %s\n", t.Filter, t.Direction, t.QoS, orQuotes(t.LocalPrefix), orQuotes(t.RemotePrefix))
	}
}

func orQuotes(prefix string) string {
	if prefix == "" {
		return `""`
	}
	return prefix
}

var bridgeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func (b *Bridge) check(field func(name string, err error)) {
	if !bridgeName.MatchString(b.Name) {
		field("Name", fmt.Errorf("%.60q (want letters, digits, and . _ - behind the first)", b.Name))
	}
	if len(b.Addresses) == 0 {
		field("Addresses", errors.New("there is none (want at least one)"))
	}
	for i, a := range b.Addresses {
		field(fmt.Sprintf("Addresses[%d]", i), checkRemote(a))
	}
	if b.ClientID != "" && checkWord(b.ClientID) != nil {
		field("ClientID", checkWord(b.ClientID))
	}
	if len(b.Topics) == 0 {
		field("Topics", errors.New("there is none (want at least one)"))
	}
	for i, t := range b.Topics {
		field(fmt.Sprintf("Topics[%d]", i), t.check())
	}
	switch {
	case b.TLS != nil && b.Plain:
		field("TLS", errors.New("both TLS and Plain (want one)"))
	case b.TLS == nil && !b.Plain:
		field("TLS", errors.New("no TLS (want it, or Plain)"))
	case b.TLS != nil:
		b.TLS.check(field)
	}
}

func (t *BridgeTLS) check(field func(name string, err error)) {
	field("TLS.CAFile", optional(checkPath, t.CAFile))
	field("TLS.CAPath", optional(checkPath, t.CAPath))
	field("TLS.CertFile", optional(checkPath, t.CertFile))
	field("TLS.KeyFile", optional(checkPath, t.KeyFile))
	if t.CAFile == "" && t.CAPath == "" {
		field("TLS.CAFile", errors.New("neither CAFile nor CAPath (want one: without it, a bridge speaks plain MQTT)"))
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		field("TLS.CertFile", errors.New("one of CertFile and KeyFile (want both or none)"))
	}
}

// checkRemote accepts host:port. An IPv6 address is taken without brackets by
// a broker, which looks for the port behind the last colon.
func checkRemote(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%.60q (want host:port)", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > maxUint16 || strconv.Itoa(n) != port {
		return fmt.Errorf("%.60q (want a port of 1 to 65535)", addr)
	}
	if strings.Contains(host, ":") {
		return fmt.Errorf("%.60q (want a host name or an IPv4 address)", addr)
	}
	if !isAddress(host) {
		return fmt.Errorf("%.60q (want host:port)", addr)
	}
	return nil
}

// checkWord accepts what a broker reads as one word, and as text.
func checkWord(s string) error {
	if s == "" || strings.ContainsAny(s, blanks) {
		return fmt.Errorf("%.60q (want a word without white space)", s)
	}
	if err := checkText(s); err != nil {
		return fmt.Errorf("%w in %.60q", err, s)
	}
	return nil
}

func (t *BridgeTopic) check() error {
	if err := checkWord(t.Filter); err != nil {
		return fmt.Errorf("filter %w", err)
	}
	if !isFilter(t.Filter) || strings.HasPrefix(t.Filter, `"`) {
		return fmt.Errorf("filter %.60q (want a valid topic filter)", t.Filter)
	}
	if t.Direction != In && t.Direction != Out && t.Direction != Both {
		return fmt.Errorf("direction %.40q (want in, out or both)", t.Direction)
	}
	if t.QoS > 2 {
		return fmt.Errorf("QoS %d (want 0, 1 or 2)", t.QoS)
	}
	for _, p := range []string{t.LocalPrefix, t.RemotePrefix} {
		if p == "" {
			continue
		}
		if err := checkWord(p); err != nil {
			return fmt.Errorf("prefix %w", err)
		}
		// A word that begins with # would be a comment, one of quotes nothing.
		if !isTopic(p) || strings.HasPrefix(p, `"`) {
			return fmt.Errorf("prefix %.60q (want a topic without wildcards)", p)
		}
	}
	return nil
}
