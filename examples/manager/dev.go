package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// The folders of dev's state, in its own.
const (
	brokerDir = "broker"
	caDir     = "ca"
	kafkaDir  = "kafka"
)

// dev runs the manager with everything that it needs in this process: a CA, a
// login in front of it, and a Kafka. All of them keep their state in a folder,
// so that a restart goes on where it stopped.
func dev(ctx context.Context, s *settings, log *slog.Logger, stdout io.Writer) (err error) {
	root := s.dir
	s.dir = filepath.Join(root, brokerDir)

	listener, err := net.Listen("tcp", s.gateway)
	if err != nil {
		return fmt.Errorf("--gateway: %w", err)
	}
	log.Info("opening the CA; the first time, this makes its key", "dir", filepath.Join(root, caDir))
	ca, err := localca.Open(filepath.Join(root, caDir), localca.Options{Name: s.caName, Logger: log})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, ca.Close()) }()

	// The manager is a user of the gateway like others, with a password that
	// nobody knows.
	const own = "mqtt-manager"
	password := rand.Text()
	gateway := ejbcatest.NewGateway(ca,
		ejbcatest.Account{Username: s.login, Password: s.login},
		ejbcatest.Account{Username: own, Password: password})
	gatewayCtx, stopGateway := context.WithCancel(context.WithoutCancel(ctx))
	gatewayEnded := make(chan error, 1)
	go func() { gatewayEnded <- serveHTTP(gatewayCtx, listener, gateway, log) }()
	defer func() {
		stopGateway()
		if ended := <-gatewayEnded; !errors.Is(ended, context.Canceled) {
			err = errors.Join(err, ended)
		}
	}()

	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{
		Dir:     filepath.Join(root, kafkaDir),
		Port:    s.kafkaPort,
		Tenants: []string{"admin"},
	})
	if err != nil {
		return fmt.Errorf("--kafka-port %d: %w", s.kafkaPort, err)
	}
	defer kafka.Close()

	url := "http://" + s.gateway
	credentials := &ejbca.Credentials{BaseURL: url, Username: own, Password: password, HTTPClient: caHTTP}
	client := &ejbca.Client{BaseURL: url, Token: credentials.Token, HTTPClient: caHTTP}
	// The platform's own user enrols like a device.
	m, err := newManager(ctx, s, client, log)
	if err != nil {
		return err
	}
	if err := (&registrar{m}).Register(ctx, s.agent); err != nil {
		return errors.Join(err, m.acl.Close())
	}
	return m.run(ctx, kafka.Brokers(), func() error {
		_, err := fmt.Fprintf(stdout, banner, s.listen, s.api, s.gateway, s.login, kafka.Brokers()[0], root, s.commands())
		return err
	})
}

const banner = `
The broker is up. FOR DEVELOPMENT ONLY: the login's password is its name, and the API asks for none.

  broker   %s   MQTT over TLS, client certificates required
  API      http://%s
  CA       http://%s   EJBCA-REST and dojot's /auth, login %q
  Kafka    %s
  state    %s

Next, in another terminal, from this folder: add a device, get its certificate, publish.

%s
Ctrl-C ends everything.
`

// commands are what to paste next, with the addresses as they are.
func (s *settings) commands() string {
	simulator := "  go run ./examples/simulator --tenant admin --device 24f6"
	if s.caName != "IOTmidCA" {
		simulator += " --ca " + s.caName
	}
	if host, port, _ := net.SplitHostPort(s.brokerAddr); host != "127.0.0.1" || port != "8883" {
		simulator += " -h " + host + " -p " + port
	}
	return fmt.Sprintf(`  curl -X PUT http://%s/v1/devices/admin/24f6
  echo %s | go run ./examples/retriever http://%s 24f6 %s -u %s
%s
`, s.api, s.login, s.gateway, s.caName, s.login, simulator)
}
