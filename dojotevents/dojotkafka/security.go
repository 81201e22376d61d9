package dojotkafka

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Mechanisms of SASL.
const (
	Plain       = "PLAIN" // sends the password: use it with TLS
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// SASL is who a client says it is. It prints and logs without its password,
// and is written without it by encoding/json.
type SASL struct {
	Mechanism string // Plain, ScramSHA256 or ScramSHA512
	User      string
	Password  string `json:"-"`
}

// String returns mechanism and user.
func (s SASL) String() string { return s.Mechanism + " " + s.User }

// Format prints what String returns, whatever the verb.
func (s SASL) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue returns mechanism and user.
func (s SASL) LogValue() slog.Value {
	return slog.GroupValue(slog.String("mechanism", s.Mechanism), slog.String("user", s.User))
}

func (c *Consumer) security() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if c.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(c.TLS))
	}
	if c.SASL == nil {
		return opts, nil
	}
	if c.SASL.User == "" {
		return nil, fmt.Errorf("no user for SASL %s", c.SASL.Mechanism)
	}
	switch c.SASL.Mechanism {
	case Plain:
		return append(opts, kgo.SASL(plain.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsMechanism())), nil
	case ScramSHA256:
		return append(opts, kgo.SASL(scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsSha256Mechanism())), nil
	case ScramSHA512:
		return append(opts, kgo.SASL(scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsSha512Mechanism())), nil
	}
	return nil, fmt.Errorf("unknown SASL mechanism %q (want %s, %s or %s)", c.SASL.Mechanism, Plain, ScramSHA256, ScramSHA512)
}
