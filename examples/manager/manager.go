package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
	"github.com/dojot/mqtt-manager-go/internal/httpurl"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/internal/retry"
	"github.com/dojot/mqtt-manager-go/internal/secret"
	"github.com/dojot/mqtt-manager-go/provision"
)

// manager is one broker's keeper. Its parts are put together by newManager, in
// the order in which they need each other.
type manager struct {
	*settings
	log *slog.Logger

	version  string      // the broker's
	grammar  acl.Version // the same, for its ACL file
	owner    *durable.Owner
	apiToken *secret.Token // nil: the API asks nobody
	kafkaTLS *tls.Config
	sasl     *dojotkafka.SASL
	ca       *ejbca.Client
	identity *provision.Identity
	chain    []*x509.Certificate
	list     *crl.File
	lists    *crl.Refresher
	acl      *acl.Store
	child    *mosquitto.Child // nil: the broker is somebody else's
	probe    *mosquitto.Probe
	reloader *mosquitto.Reloader
	fleet    *fleet.Fleet
}

// The files of the broker, in the manager's folder; the names are the
// original's.
const (
	aclName    = "access.acl"
	crlName    = "ca.crl"
	configName = "mosquitto.conf"
	owedName   = "withdrawals" // see fleet.Owed; the original has none
)

// probeTopic is where nobody may publish.
const probeTopic = "mqtt-manager/probe"

func (m *manager) path(name string) string { return filepath.Join(m.dir, name) }

// newManager brings the broker's files into order, waiting for the CA as long
// as it takes, and returns a manager whose broker can be started.
func newManager(ctx context.Context, s *settings, ca *ejbca.Client, log *slog.Logger) (_ *manager, err error) {
	m := &manager{settings: s, ca: ca, log: log}
	if m.apiTokenFile != "" {
		if m.apiToken, err = secret.ReadToken(m.apiTokenFile); err != nil {
			return nil, fmt.Errorf("--api-token-file: %w", err)
		}
	}
	if m.kafkaTLS, err = m.security.tlsConfig(); err != nil {
		return nil, err
	}
	if m.sasl, err = m.security.sasl(); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(m.dir, 0o755); err != nil {
		return nil, err
	}
	if m.brokerUser != "" {
		uid, gid, err := m.settings.owner()
		if err != nil {
			return nil, err
		}
		m.owner = &durable.Owner{UID: uid, GID: gid}
	}
	if err := m.findBroker(ctx); err != nil {
		return nil, err
	}
	if m.grammar, err = acl.ParseVersion(m.version); err != nil {
		return nil, err
	}
	if err := m.openACL(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.acl.Close())
		}
	}()
	m.identity = &provision.Identity{
		CommonName: brokerName,
		DNSNames:   m.dns,
		IPs:        m.ips,
		KeyBits:    m.keyBits,
		Files:      provision.BrokerFiles(m.dir),
		// The broker shows it, and the probe connects with it.
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		Owner:  (*provision.Owner)(m.owner),
		Report: func(step provision.Step) {
			if step.Reason != "" {
				log.Info("broker's identity", "file", step.Path, "is", step.Action, "because", step.Reason)
				return
			}
			log.Info("broker's identity", "file", step.Path, "is", step.Action)
		},
	}
	ofTheCA := func(err error) bool { return errors.As(err, new(*ejbca.Error)) }
	if err := retry.Do(ctx, log, "waiting for the CA at "+httpurl.Shown(ca.BaseURL), ofTheCA, m.provision); err != nil {
		return nil, err
	}
	if err := m.writeConfig(); err != nil {
		return nil, err
	}
	m.probe = &mosquitto.Probe{Addr: m.brokerAddr, TLS: m.probeTLS, Forbidden: probeTopic}
	var control mosquitto.Control
	switch {
	case m.child != nil:
		control = m.child
	case m.pidFile != "":
		control = mosquitto.PIDFile{Path: m.pidFile}
	default:
		control = mosquitto.Command(strings.Fields(m.reloadCommand))
	}
	m.reloader = mosquitto.NewReloader(control, m.check, m.probe, log)
	return m, m.check()
}

// findBroker finds the binary to run, or the version of the broker that
// somebody else runs.
func (m *manager) findBroker(ctx context.Context) error {
	if !m.ownsBroker() && m.brokerVersion != "" {
		m.version = m.brokerVersion
		return nil
	}
	binary, err := mosquitto.Find(ctx, m.mosquitto)
	if err != nil {
		return err
	}
	m.version = binary.Version
	if m.ownsBroker() {
		m.child = &mosquitto.Child{
			Binary: binary,
			Config: m.path(configName),
			Dir:    m.dir,
			Addr:   m.brokerAddr,
			User:   m.brokerUser,
			Logger: m.log.With("from", "mosquitto"),
		}
	}
	return nil
}
