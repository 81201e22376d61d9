package provision

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// A Target is a broker, and who wants to use it. Addr and Files are required.
type Target struct {
	Addr       string // host:port of its TLS listener
	Files      Files  // of the client
	ServerName string // to look for in the broker's certificate; empty: Addr's host
	ClientID   string // MQTT's; empty: the broker chooses. One that is in use ends that connection

	// User is the client's name at the broker, for Allows. Empty means the
	// certificate's common name, the first if it has several, as with
	// use_identity_as_username. With use_subject_as_username it is the whole
	// subject, as the broker writes it. With use_username_as_clientid, ClientID
	// is the user name, too.
	User string

	// Topic, if not empty, gets a message with QoS 1 and this Payload.
	Topic   string
	Payload []byte

	// Allows, if not nil, asks the broker's access rules, where they can be
	// read, whether they let the user publish, and in words why: to say why a
	// message was discarded, and to notice a broker that does not work by its
	// rules. User "" is a client without a name: an anonymous one.
	Allows func(user, clientID, topic string) (allowed bool, why string)
	// CRLFile is the broker's crlfile, where it can be read; else empty, which
	// it counts as if this user lacks the permission, or the client has not the
	// certificate of its CA. It tells more about a refusal, and shows that a
	// broker lets in whom it should refuse, or will refuse everybody once it
	// reads the file.
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
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return filesProblem(err)
		}
		c.sent = append(c.sent, cert)
	}
	c.path = pathOf(c.leaf, slices.Concat(c.sent, c.chain))
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c.asked = true
		return pair, nil
	}
	config.Time = func() time.Time { return c.now }
	config.ServerName = t.ServerName
	config.MaxVersion = tls.VersionTLS12
	err = c.try(ctx, config)
	// A broker without a cipher for 1.2 answers like one without a certificate.
	if alert, ok := tlsalert.Received(err); ok && (alert == tlsalert.ProtocolVersion || alert == tlsalert.HandshakeFailure) {
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
	sent  []*x509.Certificate // with the leaf
	path  []*x509.Certificate // the leaf and the CAs above it, as far as the client has them
	asked bool                // by the broker, for the certificate
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
		if allowed, why := c.Allows(c.user(), c.ClientID, c.Topic); !allowed {
			e := Explanation{
				fmt.Sprintf("the broker takes messages to %q, although the rules in its file refuse them: %s; it has not read the file since it changed, or could not and is open to everybody", c.Topic, why),
				remedy}
			if c.mattersWhoItIs(c.Topic, allowed) {
				e = Explanation{e.Cause + "; or it takes the client for an anonymous one, to whom they allow this",
					remedy + remedyAnonymous}
			}
			return &Problem{e, errLetIn}
		}
	}
	switch list := c.list(); list.verdict {
	case listRevokes:
		return &Problem{Explanation{
			fmt.Sprintf("the broker lets the client in, although the certificate with serial %x is on its revocation list: it has not read the list since it changed, or could not, or that listener has no crlfile", c.leaf.SerialNumber),
			remedy}, errLetIn}
	case listUnfit:
		return &Problem{Explanation{
			"the broker lets the client in, but by an older state of its list, or by none: " + list.Cause,
			list.Remedy}, errLetIn}
	}
	return nil
}

// mattersWhoItIs reports whether the rules have another answer for an anonymous
// client than for the user: a broker that lets such clients in takes this one
// for one, if it is not told to look for the name in the certificate.
func (c *check) mattersWhoItIs(topic string, allowed bool) bool {
	anonymous, _ := c.Allows("", c.ClientID, topic)
	return anonymous != allowed
}

// user is the client's name at the broker, "" for an anonymous one.
func (c *check) user() string {
	switch {
	case c.User != "":
		return c.User
	case !c.asked:
		return ""
	}
	if names := commonNames(c.leaf); len(names) > 0 {
		return names[0]
	}
	return ""
}
