package provision

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// A ConnackError is a broker's refusal by MQTT, after TLS was fine (MQTT 5.0,
// section 3.2.2.2).
type ConnackError struct{ Reason byte }

func (e *ConnackError) Error() string {
	return fmt.Sprintf("MQTT connect refused with reason code 0x%02x", e.Reason)
}

// A PubackError is a broker's refusal of a message (MQTT 5.0, section 3.4.2.1).
type PubackError struct {
	Topic  string
	Reason byte
}

func (e *PubackError) Error() string {
	return fmt.Sprintf("message to %q refused with reason code 0x%02x", e.Topic, e.Reason)
}

// A DisconnectError is a broker's end of a connection (MQTT 5.0, section
// 3.14.2.1).
type DisconnectError struct{ Reason byte }

func (e *DisconnectError) Error() string {
	return fmt.Sprintf("MQTT connection ended by the broker with reason code 0x%02x", e.Reason)
}

// The control packets that a check needs, with their flags.
const (
	packetConnect    = 0x10
	packetConnack    = 0x20
	packetPublishQ1  = 0x32
	packetPuback     = 0x40
	packetDisconnect = 0xe0
)

// session is an MQTT 5 connection that has one message to send. It is version
// 5 because in 3.1.1 a message that is refused just vanishes.
type session struct {
	conn net.Conn
	in   *bufio.Reader
}

// These are wrapped by the errors of answers that did not come.
var (
	errNoConnack = errors.New("no answer to MQTT connect")
	errNoPuback  = errors.New("no answer to the message")
)

func connectMQTT(ctx context.Context, conn net.Conn, clientID string) (*session, error) {
	s := &session{conn: conn, in: bufio.NewReader(conn)}
	body := appendString(nil, "MQTT")
	body = append(body, 5, 0x02 /* clean start */, 0, 30 /* keep alive */, 0 /* no properties */)
	body = appendString(body, clientID)
	answer, err := s.ask(ctx, packetConnect, body, packetConnack)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoConnack, err)
	}
	if len(answer) < 2 {
		return nil, errNotMQTT
	}
	if answer[1] != 0 {
		return nil, &ConnackError{answer[1]}
	}
	return s, nil
}

// publish sends a message with QoS 1 and waits for the verdict.
func (s *session) publish(ctx context.Context, topic string, payload []byte) error {
	body := appendString(nil, topic)
	body = append(body, 0, 1 /* packet identifier */, 0 /* no properties */)
	answer, err := s.ask(ctx, packetPublishQ1, append(body, payload...), packetPuback)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoPuback, err)
	}
	if len(answer) > 2 && answer[2] >= 0x80 {
		return &PubackError{topic, answer[2]}
	}
	return nil
}

func (s *session) close() error {
	return errors.Join(s.send(packetDisconnect, nil), s.conn.Close())
}

// ask sends a packet and returns the body of its answer. It gives up with the
// error of ctx.
func (s *session) ask(ctx context.Context, kind byte, body []byte, answer byte) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	unsent := s.send(kind, body)
	// A broker that wants no more of a long packet says why before it hangs up.
	got, err := s.receive(answer)
	switch {
	case err == nil, errors.As(err, new(*DisconnectError)):
		return got, err
	default:
		return nil, cmp.Or(ctx.Err(), unsent, err)
	}
}

func (s *session) send(kind byte, body []byte) error {
	packet := binary.AppendUvarint([]byte{kind}, uint64(len(body)))
	_, err := s.conn.Write(append(packet, body...))
	return err
}

// maxPacket is far beyond what a broker answers here.
const maxPacket = 64 << 10

var errNotMQTT = errors.New("the answer is not MQTT 5")

// receive returns the body of the next packet, which must be of that kind: to
// a client without subscriptions a broker sends nothing but answers.
func (s *session) receive(kind byte) ([]byte, error) {
	got, err := s.in.ReadByte()
	if err != nil {
		return nil, err
	}
	if got != kind && got != packetDisconnect {
		return nil, errNotMQTT
	}
	n, err := binary.ReadUvarint(s.in)
	if err != nil {
		return nil, err
	}
	if n > maxPacket {
		return nil, errNotMQTT
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(s.in, body); err != nil {
		return nil, err
	}
	if got == kind {
		return body, nil
	}
	if len(body) == 0 {
		return nil, &DisconnectError{}
	}
	return nil, &DisconnectError{body[0]}
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
