// Simulator connects to a broker as a device does, over mutual TLS, publishes
// and subscribes, and says in words what happened: connected, published and
// confirmed, or refused and why.
//
// It speaks MQTT 5, in which a broker tells a message that its access rules
// refuse from one that it took; older versions confirm both.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/provision"
)

const usage = `Usage: simulator --tenant TENANT --device DEVICE [options]
       simulator --cert FILE --key FILE --cafile FILE -t TOPIC [options]

Publishes a message as a device, and receives messages with --subscribe.

  simulator --tenant admin --device 24f6
  simulator --tenant admin --device 24f6 -m '{"rain": 3.5}' -q 0
  simulator --device iotagent --subscribe '/#'

Options:
`

// The exit statuses that scripts can tell apart.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, pflag.ErrHelp):
	case errors.As(err, new(*usageError)):
		fmt.Fprintln(os.Stderr, "simulator:", err)
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "simulator:", err)
		os.Exit(exitFailed)
	}
}

type usageError struct{ error }

type settings struct {
	host, id, topic, message  string
	port                      int
	qos                       uint8
	cert, key, cafile         string
	tenant, device, certs, ca string
	subscribe                 []string
	count                     int
	timeout                   time.Duration
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	flags := pflag.NewFlagSet("simulator", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard) // main prints the error once
	flags.StringVarP(&s.host, "host", "h", "localhost", "the broker's host; its certificate must carry this name")
	flags.IntVarP(&s.port, "port", "p", 8883, "the port of its TLS listener")
	flags.StringVar(&s.tenant, "tenant", "", "the device's tenant")
	flags.StringVar(&s.device, "device", "", "the device's id")
	flags.StringVar(&s.certs, "certs", "certs", "the folder with the files that the retriever made")
	flags.StringVar(&s.ca, "ca", "IOTmidCA", "the CA's name, for <certs>/<ca>.crt")
	flags.StringVar(&s.cert, "cert", "", "the device's certificate (<certs>/<device>.crt)")
	flags.StringVar(&s.key, "key", "", "its key (<certs>/<device>.key)")
	flags.StringVar(&s.cafile, "cafile", "", "the CA's certificate (<certs>/<ca>.crt)")
	flags.StringVarP(&s.id, "id", "i", "", "the MQTT client id (<tenant>:<device>)")
	flags.StringVarP(&s.topic, "topic", "t", "", "where to publish (/<tenant>/<device>/attrs)")
	flags.StringVarP(&s.message, "message", "m", `{"temperature": 21.5}`, "what to publish")
	flags.Uint8VarP(&s.qos, "qos", "q", 1, "quality of service: 0, 1 or 2; with 0 nothing is confirmed")
	flags.StringArrayVarP(&s.subscribe, "subscribe", "s", nil, "print the messages of this topic filter, and publish only with -m or -t; may be repeated")
	flags.IntVarP(&s.count, "count", "C", 0, "end after so many messages; 0 is never")
	flags.DurationVarP(&s.timeout, "timeout", "W", 0, "end after this time, 30s say; 0 is never for --subscribe, 30s for the rest")
	help := flags.Bool("help", false, "print this text")
	if err := flags.Parse(args); err != nil {
		return nil, &usageError{err}
	}
	if *help {
		fmt.Fprint(stderr, usage+flags.FlagUsages())
		return nil, pflag.ErrHelp
	}
	if flags.NArg() > 0 {
		return nil, &usageError{fmt.Errorf("unexpected argument %q (see --help)", flags.Arg(0))}
	}
	if s.qos > 2 {
		return nil, &usageError{fmt.Errorf("--qos %d: want 0, 1 or 2", s.qos)}
	}
	if s.port < 1 || s.port > 65535 {
		return nil, &usageError{fmt.Errorf("--port %d: want 1 to 65535", s.port)}
	}
	if s.device == "" && (s.cert == "" || s.key == "" || s.cafile == "") {
		return nil, &usageError{errors.New("want --device, or --cert, --key and --cafile (see --help)")}
	}
	if s.device != filepath.Base(s.device) && s.device != "" {
		return nil, &usageError{fmt.Errorf("--device %q: want a name, not a path", s.device)}
	}
	publishes := len(s.subscribe) == 0 || flags.Changed("message") || flags.Changed("topic")
	if publishes && s.topic == "" {
		if s.tenant == "" || s.device == "" {
			return nil, &usageError{errors.New("want --topic, or --tenant and --device, to know where to publish")}
		}
		s.topic = "/" + s.tenant + "/" + s.device + "/attrs"
	}
	if !publishes {
		s.topic = ""
	}
	if s.id == "" && s.tenant != "" && s.device != "" {
		s.id = s.tenant + ":" + s.device
	}
	return s, nil
}

// files are those named, and the retriever's for the rest.
func (s *settings) files() provision.Files {
	f := provision.DeviceFiles(s.certs, s.device, s.ca)
	for _, named := range []struct {
		path string
		file *string
	}{{s.cert, &f.Cert}, {s.key, &f.Key}, {s.cafile, &f.CA}} {
		if named.path != "" {
			*named.file = named.path
		}
	}
	return f
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	config, err := provision.TLSConfig(s.files())
	if err != nil {
		return fmt.Errorf("%w (the retriever makes these files)", err)
	}
	work, cancel := context.WithTimeout(ctx, 30*time.Second)
	if s.timeout > 0 {
		work, cancel = context.WithTimeout(ctx, s.timeout)
	} else if len(s.subscribe) > 0 {
		work, cancel = context.WithCancel(ctx)
	}
	defer cancel()

	type message struct {
		topic   string
		payload []byte
	}
	received := make(chan message)
	addr := net.JoinHostPort(s.host, strconv.Itoa(s.port))
	options := mqttclient.Options{Addr: addr, TLS: config, ClientID: s.id}
	if len(s.subscribe) > 0 {
		options.Received = func(topic string, payload []byte) {
			select {
			case received <- message{topic, payload}:
			case <-work.Done():
			}
		}
	}
	client, err := mqttclient.Dial(work, options)
	if err != nil {
		return explain(work, options, err)
	}
	defer client.Close()
	fmt.Fprintf(stderr, "connected to %s\n", addr)

	if len(s.subscribe) > 0 {
		if err := client.Subscribe(work, s.qos, s.subscribe...); err != nil {
			return explain(work, options, err)
		}
		fmt.Fprintf(stderr, "subscribed to %q\n", s.subscribe)
	}
	if s.topic != "" {
		if err := publish(work, client, s, stderr); err != nil {
			return explain(work, options, err)
		}
	}
	if len(s.subscribe) == 0 {
		return nil
	}
	for n := 0; s.count == 0 || n < s.count; n++ {
		select {
		case m := <-received:
			fmt.Fprintf(stdout, "%s %s\n", m.topic, m.payload)
		case err := <-client.Failed():
			return explain(work, options, err)
		case <-work.Done():
			if s.count > 0 && ctx.Err() == nil {
				return fmt.Errorf("%d of %d messages came within %v", n, s.count, s.timeout)
			}
			return nil
		}
	}
	return nil
}

func publish(ctx context.Context, client *mqttclient.Client, s *settings, stderr io.Writer) error {
	err := client.Publish(ctx, s.topic, []byte(s.message), s.qos, false)
	if errors.Is(err, mqttclient.ErrNotAuthorized) {
		return fmt.Errorf("refused: the broker's access rules do not let this device publish to %q; "+
			"check that the device is registered, and that tenant and id are its own", s.topic)
	}
	if err != nil {
		return err
	}
	if s.qos == 0 {
		fmt.Fprintf(stderr, "published to %s; whether the broker took it, QoS 0 does not tell\n", s.topic)
		return nil
	}
	fmt.Fprintf(stderr, "published to %s and confirmed\n", s.topic)
	return nil
}

// explain adds cause and remedy to an error of the connection. A refusal that
// came as a bare reset is asked for again with TLS 1.2, in which it has words.
func explain(ctx context.Context, o mqttclient.Options, err error) error {
	var dial *mqttclient.DialError
	if errors.As(err, &dial) && dial.Phase == mqttclient.PhaseMQTT && dial.Reason == 0 {
		o.TLS = o.TLS.Clone()
		o.TLS.MaxVersion = tls.VersionTLS12
		client, again := mqttclient.Dial(ctx, o)
		if again == nil {
			client.Close()
			return err
		}
		err = again
	}
	if e, ok := provision.Explain(err); ok {
		return fmt.Errorf("refused: %s\n  remedy: %s\n  (%w)", e.Cause, e.Remedy, err)
	}
	return err
}
