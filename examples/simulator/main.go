// Simulator connects to a broker as a device does, over mutual TLS, publishes
// and subscribes, and says in words what happened: connected, published and
// confirmed, or refused and why.
//
// It speaks MQTT 5, in which a broker tells a message that its access rules
// refuse from one that it took; older versions confirm both.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/provision"
)

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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	rules, err := readRules(s)
	if err != nil {
		return err
	}
	config, err := provision.TLSConfig(s.files())
	if err != nil {
		return fmt.Errorf("%w (the retriever makes these files)", err)
	}
	work, cancel := context.WithCancel(ctx)
	if limit := s.limit(); limit > 0 {
		work, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()

	received := make(chan message)
	options := mqttclient.Options{Addr: s.addr(), TLS: config, ClientID: s.id}
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
		return explain(ctx, s, rules, err)
	}
	defer client.Close()
	fmt.Fprintf(stderr, "connected to %s\n", s.addr())

	if len(s.subscribe) > 0 {
		if err := client.Subscribe(work, s.qos, s.subscribe...); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "subscribed to %q\n", s.subscribe)
		rules.warnOf(s, stderr)
	}
	if s.topic != "" {
		if err := client.Publish(work, s.topic, []byte(s.message), s.qos, false); err != nil {
			return explain(ctx, s, rules, err)
		}
		confirmed := " and confirmed"
		if s.qos == 0 {
			confirmed = "; whether the broker took it, QoS 0 does not tell"
		}
		fmt.Fprintf(stderr, "published to %s%s\n", s.topic, confirmed)
	}
	if len(s.subscribe) == 0 {
		return nil
	}
	n, err := receive(work, s.count, received, client.Failed(), stdout)
	if err == nil && n < s.count && ctx.Err() == nil {
		return fmt.Errorf("%d of %d messages came within %v; a broker grants every subscription, and delivers what its rules let the client read", n, s.count, s.timeout)
	}
	return err
}

type message struct {
	topic   string
	payload []byte
}

// receive prints messages until there were count, or for ever if that is 0.
// That ctx ends is no error.
func receive(ctx context.Context, count int, received <-chan message, failed <-chan error, stdout io.Writer) (n int, err error) {
	for count == 0 || n < count {
		select {
		case m := <-received:
			fmt.Fprintf(stdout, "%s %s\n", m.topic, m.payload)
			n++
		case err := <-failed:
			return n, err
		case <-ctx.Done():
			return n, nil
		}
	}
	return n, nil
}
