package provision

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// A Target is a broker, and who wants to use it. Addr and Files are required.
type Target struct {
	Addr       string // host:port of its TLS listener
	Files      Files  // of the client
	ServerName string // to look for in the broker's certificate; empty: Addr's host
	ClientID   string // MQTT's; empty: the broker chooses. One that is in use ends that connection

	// Topic, if not empty, gets a message with QoS 1 and this Payload.
	Topic   string
	Payload []byte

	// Allows, if not nil, asks the broker's access rules, where they can be
	// read, whether they let the user publish, and in words why: to say why a
	// message was discarded, and to notice a broker that does not work by its
	// rules.
	Allows func(user, clientID, topic string) (allowed bool, why string)
	// CRLFile is the broker's crlfile, where it can be read; else empty. It
	// tells more about a refusal, and shows that a broker lets in whom it
	// should refuse.
	CRLFile string

	Now func() time.Time // nil: time.Now
}

// A Problem is what Check found: the cause, what to do, and the error that it
// is deduced from.
type Problem struct {
	Explanation
	Err error
}

func (p *Problem) Error() string { return fmt.Sprintf("%s (%v)", p.Explanation, p.Err) }
func (p *Problem) Unwrap() error { return p.Err }

// Check connects to a broker as the client would, in earnest: TLS, MQTT, and,
// if a topic is given, a message. It returns nil if all of that works and
// should, and otherwise a *Problem. What a broker's alert leaves open, it looks
// for in the client's files, the broker's list and its rules.
//
// When ctx is canceled, the error is context.Canceled alone.
//
// It speaks TLS 1.2, in which a refusal has words, and 1.3 only with a broker
// that wants nothing else: there, the alert comes with the first read. Each
// attempt takes a minute at most if ctx has no deadline.
//
// MQTT 5 is spoken because in 3.1.1 a discarded message is confirmed.
// Mosquitto speaks it since 1.6.
func Check(ctx context.Context, t Target) error {
	c := &check{Target: t, now: time.Now()}
	if t.Now != nil {
		c.now = t.Now()
	}
	var err error
	if c.chain, err = t.Files.Chain(); err != nil {
		return filesProblem(err)
	}
	config, err := TLSConfig(t.Files)
	if err != nil {
		return filesProblem(err)
	}
	pair, err := t.Files.KeyPair()
	if err != nil {
		return filesProblem(err)
	}
	c.leaf = pair.Leaf
	c.sent = pair.Certificate[1:]
	config.Time = func() time.Time { return c.now }
	config.ServerName = t.ServerName
	config.MaxVersion = tls.VersionTLS12
	err = c.try(ctx, config)
	if alert, ok := tlsalert.Received(err); ok && alert == tlsalert.ProtocolVersion {
		config.MaxVersion = tls.VersionTLS13
		err = c.try(ctx, config)
	}
	if err == nil {
		return c.expectRefusal()
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if e, ok := c.explain(err); ok {
		return &Problem{e, err}
	}
	return &Problem{Explanation{"the check does not know this failure", "look into the broker's log"}, err}
}

func filesProblem(err error) error {
	return &Problem{Explanation{"the client's files are not in order", "have them made anew"}, err}
}

// check is one run of Check.
type check struct {
	Target
	now   time.Time
	chain []*x509.Certificate
	leaf  *x509.Certificate
	sent  [][]byte // with the leaf
}

// attemptTime is long because a broker that reads a large ACL file answers
// nobody meanwhile.
const attemptTime = time.Minute

// limited gives ctx a deadline, if it has none.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, attemptTime)
}

func (c *check) try(ctx context.Context, config *tls.Config) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	conn, err := c.dial(ctx, config)
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	defer conn.Close()
	mqtt, err := connectMQTT(ctx, conn, c.ClientID)
	if err != nil {
		return err
	}
	if c.Topic != "" {
		if err := mqtt.publish(ctx, c.Topic, c.Payload); err != nil {
			return err
		}
	}
	return mqtt.close()
}

func (c *check) dial(ctx context.Context, config *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	if config.MaxVersion == tls.VersionTLS13 {
		if err := awaitAlert(conn); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// alertTime is how long a refusal by TLS 1.3 may take to arrive.
const alertTime = 300 * time.Millisecond

// awaitAlert reads before anything is sent: a broker that refuses the client
// does not read what comes after the handshake, and closing a connection with
// unread data in it is a reset, which may overtake the alert.
func awaitAlert(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(alertTime)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return cmp.Or(err, errNotMQTT)
	}
	return conn.SetReadDeadline(time.Time{})
}

// errLetIn is behind the problems of a broker that refuses too little.
var errLetIn = errors.New("the broker refused nothing")

// expectRefusal returns a *Problem if the broker, which had nothing against the
// client, should have: up to 2.0 it goes on without the rules or the list that
// it failed to read, and says so in its log alone.
func (c *check) expectRefusal() error {
	const remedy = "look into the broker's log for an error of the file after \"Reloading config\", and have it read the file (SIGHUP)"
	if c.Topic != "" && c.Allows != nil {
		if allowed, why := c.Allows(c.leaf.Subject.CommonName, c.ClientID, c.Topic); !allowed {
			return &Problem{Explanation{
				fmt.Sprintf("the broker takes messages to %q, although the rules in its file refuse them: %s; it has not read the file since it changed, or could not and is open to everybody", c.Topic, why),
				remedy}, errLetIn}
		}
	}
	lists, err := c.lists()
	if err == nil && slices.ContainsFunc(lists, func(l *x509.RevocationList) bool { return isRevoked(l, c.leaf) }) {
		return &Problem{Explanation{
			fmt.Sprintf("the broker lets the client in, although the certificate with serial %x is on its revocation list: it has not read the list since it changed, or could not, or that listener has no crlfile", c.leaf.SerialNumber),
			remedy}, errLetIn}
	}
	return nil
}

// explain knows more than Explain: the files.
func (c *check) explain(err error) (Explanation, bool) {
	if alert, ok := tlsalert.Received(err); ok {
		if e, ok := c.explainAlert(alert); ok {
			return e, true
		}
	}
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		if e, ok := c.explainBroker(unverified); ok {
			return e, true
		}
	}
	if puback, ok := errors.AsType[*PubackError](err); ok && puback.Reason == reasonNotAuthorized {
		if e, ok := c.explainDiscarded(puback.Topic); ok {
			return e, true
		}
	}
	return Explain(err)
}

// explainDiscarded asks the rules, where they can be read.
func (c *check) explainDiscarded(topic string) (Explanation, bool) {
	user := c.leaf.Subject.CommonName
	if c.Allows != nil {
		allowed, why := c.Allows(user, c.ClientID, topic)
		if allowed {
			return Explanation{
				fmt.Sprintf("the broker discards messages to %q, although the rules in its file allow them: %s", topic, why),
				"have it read the file again (SIGHUP), and look into its log for an error of the file"}, true
		}
		return Explanation{
			fmt.Sprintf("the broker's access rules do not let %q publish to %q: %s", user, topic, why),
			remedyRules}, true
	}
	if strings.ContainsAny(user+c.ClientID, "+#") {
		return Explanation{
			fmt.Sprintf("the broker's access rules do not let this client publish to %q; where they have patterns, a client with + or # in its user name or client id, here %q and %q, gets nothing from them", topic, user, c.ClientID),
			"choose a name without + and #; or " + remedyRules}, true
	}
	return Explanation{}, false
}

// explainAlert resolves what an alert leaves open. First comes what is wrong
// with the client's own certificate, as that is certain.
func (c *check) explainAlert(alert uint8) (Explanation, bool) {
	switch alert {
	case tlsalert.HandshakeFailure, tlsalert.ProtocolVersion:
		// Neither for want of the client's certificate nor of its version of
		// TLS, as the one was sent and both versions tried.
		return Explanation{"the broker has no certificate that it can use: its key is of another certificate or cannot be read by it, or it wants ciphers that the client does not have",
			"see that certfile and keyfile belong together and that the broker's user can read them, and have it read them again (SIGHUP)"}, true
	case tlsalert.CertificateExpired:
		if !c.now.Before(c.leaf.NotAfter) {
			return Explanation{"the certificate has expired, at " + when(c.leaf.NotAfter), "renew it"}, true
		}
	case tlsalert.BadCertificate:
		if c.now.Before(c.leaf.NotBefore) {
			return Explanation{"the certificate is not valid before " + when(c.leaf.NotBefore),
				"compare the clocks of CA, broker and client"}, true
		}
		if key, ok := c.leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minKeyBits {
			return Explanation{fmt.Sprintf("the certificate's key is too weak: %d bits", key.N.BitLen()),
				fmt.Sprintf("make one of at least %d bits", minKeyBits)}, true
		}
	case tlsalert.UnknownCA:
		if e, ok := c.explainUnknownCA(); ok {
			return e, true
		}
	}
	if c.CRLFile != "" {
		if e, ok := c.explainList(); ok {
			return e, true
		}
	}
	switch alert {
	case tlsalert.CertificateExpired:
		return Explanation{
			"the certificate is valid until " + when(c.leaf.NotAfter) + ", so the broker's revocation list has expired, and every client is refused; or the broker's clock is ahead",
			"install a current list and have the broker read it (SIGHUP)"}, true
	case tlsalert.BadCertificate:
		return Explanation{
			"the certificate's dates and key are fine, so the broker's revocation list is from the future: the broker's clock is behind the CA's",
			"compare the clocks of broker and CA"}, true
	case tlsalert.UnknownCA:
		return Explanation{
			"the certificate is of the CA in the client's file, so the broker has another CA, or no revocation list of this one",
			"compare cafile with the client's CA file, and see that crlfile has a list of that CA"}, true
	}
	return Explanation{}, false
}

func (c *check) explainUnknownCA() (Explanation, bool) {
	if bytes.Equal(c.leaf.RawSubject, c.leaf.RawIssuer) {
		return Explanation{
			fmt.Sprintf("the certificate and its CA have the same name, %q, so the broker takes it for self-signed", c.leaf.Subject),
			"have it issued with a name of its own"}, true
	}
	var sent []*x509.Certificate
	for _, der := range c.sent {
		if cert, err := x509.ParseCertificate(der); err == nil {
			sent = append(sent, cert)
		}
	}
	options := verifyOptions(sent, c.chain, c.now)
	if _, err := c.leaf.Verify(options); err != nil {
		return Explanation{
			fmt.Sprintf("the certificate was issued by %q, which is not the CA in the client's own file either", c.leaf.Issuer),
			"have it issued by the broker's CA; one that was rebuilt under its name is another CA"}, true
	}
	issuer := c.issuer()
	if issuer != nil && !bytes.Equal(issuer.RawSubject, issuer.RawIssuer) && !slices.ContainsFunc(sent, issuer.Equal) {
		return Explanation{
			fmt.Sprintf("the client does not send the intermediate certificate %q, and a broker that has the root alone cannot find it", issuer.Subject),
			"append it to the client's certificate file, or add it to the broker's cafile"}, true
	}
	return Explanation{}, false
}

// issuer is the CA in the client's file that signed its certificate.
func (c *check) issuer() *x509.Certificate {
	for _, ca := range c.chain {
		if bytes.Equal(ca.RawSubject, c.leaf.RawIssuer) && c.leaf.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

// explainList reads the broker's crlfile as the broker does.
func (c *check) explainList() (Explanation, bool) {
	const install = "install a current list of that CA, and have the broker read it (SIGHUP)"
	lists, err := c.lists()
	if errors.As(err, new(*fs.PathError)) {
		return Explanation{}, false // it is not for us to read
	}
	if err != nil {
		return Explanation{fmt.Sprintf("the broker's revocation list cannot be read: %v", err), install}, true
	}
	if len(lists) == 0 {
		return Explanation{fmt.Sprintf("the broker has no revocation list of CA %q in %s, so it refuses all clients of that CA", c.leaf.Issuer, c.CRLFile), install}, true
	}
	issuer := c.issuer()
	var last Explanation
	for _, list := range lists {
		switch {
		case issuer != nil && list.CheckSignatureFrom(issuer) != nil:
			last = Explanation{fmt.Sprintf("the broker's revocation list has the name of CA %q, but not its signature", c.leaf.Issuer), install}
		case isRevoked(list, c.leaf):
			return Explanation{fmt.Sprintf("the certificate with serial %x is on the broker's revocation list", c.leaf.SerialNumber),
				"get a new one, if the device is to stay"}, true
		case c.now.After(list.NextUpdate):
			last = Explanation{"the broker's revocation list has expired, at " + when(list.NextUpdate) + ", so it refuses every client", install}
		case c.now.Before(list.ThisUpdate):
			last = Explanation{"the broker's revocation list is from the future: it begins at " + when(list.ThisUpdate),
				"compare the clocks of broker and CA"}
		default:
			return Explanation{}, false // a good one; the others do no harm
		}
	}
	return last, true
}

// lists returns those of the client's issuer in the broker's crlfile. It skips
// what else is in there, as the broker does.
func (c *check) lists() ([]*x509.RevocationList, error) {
	if c.CRLFile == "" {
		return nil, nil
	}
	data, err := os.ReadFile(c.CRLFile)
	if err != nil {
		return nil, err
	}
	var lists []*x509.RevocationList
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return lists, nil
		}
		if block.Type != typeCRL {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.CRLFile, err)
		}
		if bytes.Equal(list.RawIssuer, c.leaf.RawIssuer) {
			lists = append(lists, list)
		}
	}
}

// explainBroker compares what the broker shows with the CA of the client.
func (c *check) explainBroker(err *tls.CertificateVerificationError) (Explanation, bool) {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok || len(err.UnverifiedCertificates) == 0 {
		return Explanation{}, false
	}
	shown := err.UnverifiedCertificates
	leaf := shown[0]
	if slices.ContainsFunc(c.chain, func(ca *x509.Certificate) bool { return bytes.Equal(ca.RawSubject, leaf.RawIssuer) }) {
		return Explanation{
			fmt.Sprintf("the broker's certificate is of a CA that is called %q, like the client's, and has another key: the CA was rebuilt", leaf.Issuer),
			"get the CA's certificate anew, and the client's own certificate too"}, true
	}
	top := shown[len(shown)-1]
	if bytes.Equal(top.RawSubject, top.RawIssuer) {
		return Explanation{
			fmt.Sprintf("the broker's certificate is of CA %q, which the client does not trust", top.Subject),
			"give the client that CA's certificate, if it is the right one"}, true
	}
	return Explanation{
		fmt.Sprintf("the broker's certificate leads to %q, which the broker does not send and the client does not have: an intermediate is missing, or the CA is another", top.Issuer),
		"append the intermediate to the broker's certfile, or give the client the right CA"}, true
}
