package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/internal/secret"
)

// kafkaSecurity is how serve connects to Kafka. Zero: as everybody.
type kafkaSecurity struct {
	tls          bool
	caFile       string
	user         string
	passwordFile string
	mechanism    string
}

func (k *kafkaSecurity) check() error {
	switch {
	case (k.user == "") != (k.passwordFile == ""):
		return errors.New("want both of --kafka-user and --kafka-password-file")
	case k.user != "" && !slices.Contains([]string{dojotkafka.ScramSHA512, dojotkafka.ScramSHA256, dojotkafka.Plain}, k.mechanism):
		return fmt.Errorf("--kafka-sasl %q: want %s, %s or %s", k.mechanism, dojotkafka.ScramSHA512, dojotkafka.ScramSHA256, dojotkafka.Plain)
	}
	return nil
}

// tlsConfig returns nil where connections are not encrypted.
func (k *kafkaSecurity) tlsConfig() (*tls.Config, error) {
	if k.caFile == "" {
		if k.tls {
			return &tls.Config{}, nil
		}
		return nil, nil
	}
	data, err := os.ReadFile(k.caFile)
	if err != nil {
		return nil, fmt.Errorf("--kafka-ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("--kafka-ca: %s has no certificate in PEM", k.caFile)
	}
	return &tls.Config{RootCAs: roots}, nil
}

// sasl returns nil where nobody is asked who they are.
func (k *kafkaSecurity) sasl() (*dojotkafka.SASL, error) {
	if k.user == "" {
		return nil, nil
	}
	password, err := secret.ReadFile(k.passwordFile)
	if err != nil {
		return nil, fmt.Errorf("--kafka-password-file: %w", err)
	}
	return &dojotkafka.SASL{Mechanism: k.mechanism, User: k.user, Password: password}, nil
}
