// Package mqttclient is an MQTT 5 client over mutual TLS for those who want to
// know what the broker thought of a message: a publish that the ACL refuses
// is silently dropped in MQTT 3.1.1, while MQTT 5 names the reason.
package mqttclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// Options says where to connect and as whom.
type Options struct {
	Addr     string      // host:port
	TLS      *tls.Config // nil: without TLS; ServerName defaults to Addr's host
	ClientID string      // "": the broker chooses one

	// Received is called for each message that arrives, one at a time. It
	// must not block for long: the broker waits for its acknowledgement.
	Received func(topic string, payload []byte)
}

// Phase is how far a connection attempt came.
type Phase string

const (
	PhaseTCP  Phase = "connect"
	PhaseTLS  Phase = "TLS handshake"
	PhaseMQTT Phase = "MQTT connect"
)

// DialError says in which phase a connection failed. With TLS 1.3 a broker
// that refuses the client's certificate does so in PhaseMQTT, when the
// handshake is already over for the client.
type DialError struct {
	Addr   string
	Phase  Phase
	Reason byte // the CONNACK's reason code, 0 when there was none
	Err    error
}

func (e *DialError) Error() string { return fmt.Sprintf("%s with %s: %v", e.Phase, e.Addr, e.Err) }
func (e *DialError) Unwrap() error { return e.Err }

// ErrNotAuthorized is wrapped by the error of a publish that the broker's
// access rules refuse (reason code 0x87).
var ErrNotAuthorized = errors.New("not authorized")

// Client is a connection. Its methods are safe for concurrent use.
type Client struct {
	mqtt   *paho.Client
	failed chan error
}

// Dial connects. Errors are of type *DialError.
func Dial(ctx context.Context, o Options) (*Client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, &DialError{Addr: o.Addr, Phase: PhaseTCP, Err: err}
	}
	if o.TLS != nil {
		config := o.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(o.Addr)
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &DialError{Addr: o.Addr, Phase: PhaseTLS, Err: err}
		}
		conn = secure
	}
	c := &Client{failed: make(chan error, 1)}
	config := paho.ClientConfig{
		Conn:          packets.NewThreadSafeConn(conn),
		PacketTimeout: time.Minute, // a broker that reloads a large ACL answers nobody meanwhile
		OnClientError: c.fail,
		OnServerDisconnect: func(d *paho.Disconnect) {
			c.fail(fmt.Errorf("the broker ended the connection (reason 0x%02x)", d.ReasonCode))
		},
	}
	if o.Received != nil {
		config.OnPublishReceived = append(config.OnPublishReceived, func(p paho.PublishReceived) (bool, error) {
			o.Received(p.Packet.Topic, p.Packet.Payload)
			return true, nil
		})
	}
	c.mqtt = paho.NewClient(config)
	ack, err := c.mqtt.Connect(ctx, &paho.Connect{ClientID: o.ClientID, CleanStart: true, KeepAlive: 30})
	if err != nil {
		failure := &DialError{Addr: o.Addr, Phase: PhaseMQTT, Err: err}
		if ack != nil {
			failure.Reason = ack.ReasonCode
			failure.Err = fmt.Errorf("refused with reason code 0x%02x", ack.ReasonCode)
		}
		return nil, failure
	}
	return c, nil
}

func (c *Client) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = errors.New("the broker closed the connection")
	}
	select {
	case c.failed <- err:
	default: // the first cause is the one that counts
	}
}

// Publish sends a message and, unless qos is 0, waits for the broker's
// verdict: an error that wraps ErrNotAuthorized means that its access rules
// refuse the message. With qos 0 there is no verdict.
func (c *Client) Publish(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
	ack, err := c.mqtt.Publish(ctx, &paho.Publish{Topic: topic, Payload: payload, QoS: qos, Retain: retain})
	if ack != nil && ack.ReasonCode == packets.PubackNotAuthorized {
		return fmt.Errorf("publishing to %q: %w", topic, ErrNotAuthorized)
	}
	if ack != nil && ack.ReasonCode >= 0x80 {
		return fmt.Errorf("publishing to %q: refused with reason code 0x%02x", topic, ack.ReasonCode)
	}
	if err != nil {
		return fmt.Errorf("publishing to %q: %w", topic, err)
	}
	return nil
}

// Subscribe asks for messages. An ACL file grants every subscription; what a
// client may not read is just not delivered.
func (c *Client) Subscribe(ctx context.Context, qos byte, filters ...string) error {
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: qos})
	}
	if _, err := c.mqtt.Subscribe(ctx, s); err != nil {
		return fmt.Errorf("subscribing to %q: %w", filters, err)
	}
	return nil
}

// Failed delivers the reason when the connection ends by itself.
func (c *Client) Failed() <-chan error { return c.failed }

// Close disconnects and waits until the connection is closed.
func (c *Client) Close() error {
	err := c.mqtt.Disconnect(&paho.Disconnect{})
	if errors.Is(err, net.ErrClosed) {
		return nil // it had ended by itself
	}
	return err
}
