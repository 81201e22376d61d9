package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
)

// provision has the broker's identity and the revocation list in place. Both
// may be there from an earlier run; then the CA need not answer.
func (m *manager) provision(ctx context.Context) error {
	if _, err := m.identity.Ensure(ctx, m.issuer()); err != nil {
		return err
	}
	var err error
	if m.chain, err = m.identity.Files.Chain(); err != nil {
		return err
	}
	m.list, err = crl.OpenFile(m.path(crlName), crl.FileOptions{CAs: m.chain[:1], Owner: (*crl.Owner)(m.owner)})
	if err != nil {
		return err
	}
	m.lists = &crl.Refresher{
		Source: m.issuer(),
		File:   m.list,
		Every:  m.crlInterval,
		Logger: m.log,
	}
	if _, err = m.lists.Refresh(ctx); err != nil && m.list.Check(time.Now()) != nil {
		return err
	}
	// From now on a new list is something to tell the broker.
	m.lists.Installed = func(ctx context.Context, list *x509.RevocationList) error {
		if err := m.reloader.Reload(ctx); err != nil {
			return err
		}
		revoked, err := crl.NewIndex(list.Raw)
		if err != nil {
			return err
		}
		m.log.Info("revocation list installed", "number", list.Number, "revoked", revoked.Len(), "until", list.NextUpdate)
		return nil
	}
	return nil
}

// openACL opens the ACL file, and locks it: the folder is this manager's from
// then on.
func (m *manager) openACL() error {
	naming, err := m.naming()
	if err != nil {
		return err
	}
	seed, err := m.seed()
	if err != nil {
		return err
	}
	m.acl, err = acl.OpenStore(m.path(aclName), acl.StoreOptions{
		Version: m.grammar, Seed: seed, Mode: 0o640, Owner: (*acl.Owner)(m.owner),
		Written: func(ctx context.Context) error { return m.reloader.Reload(ctx) },
	})
	if err != nil {
		return err
	}
	m.acl.View(m.vetACL)
	m.fleet = &fleet.Fleet{Naming: naming, Store: m.acl, Reserved: m.reserved()}
	if m.register || m.revoke {
		m.fleet.Registrar = &registrar{manager: m}
		if m.fleet.Owed, err = fleet.OpenOwed(m.path(owedName)); err != nil {
			return errors.Join(err, m.acl.Close())
		}
	}
	return nil
}

// vetACL tells what an operator should know of the file that was found, such as
// that the broker's version will take minutes to load it.
func (m *manager) vetACL(file *acl.File) {
	const most = 10
	findings := acl.Vet(file, m.grammar)
	for _, f := range findings[:min(len(findings), most)] {
		m.log.Warn("ACL file", "path", m.path(aclName), "finding", f.String())
	}
	if more := len(findings) - most; more > 0 {
		m.log.Warn("ACL file", "path", m.path(aclName), "further findings", more)
	}
}

// seed is a new ACL file: what the platform's own user may do.
func (m *manager) seed() ([]byte, error) {
	var rules []acl.Rule
	for _, text := range m.agentRules {
		rule, err := acl.ParseRule(text)
		if err != nil {
			return nil, fmt.Errorf("--agent-rule: %w", err)
		}
		rules = append(rules, rule)
	}
	var file acl.File
	if _, err := file.SetUser(m.agent, rules...); err != nil {
		return nil, fmt.Errorf("--agent: %w", err)
	}
	var seed bytes.Buffer
	_, err := file.WriteTo(&seed)
	return seed.Bytes(), err
}

// writeConfig renders mosquitto.conf. A broker that somebody else runs is not
// forced to use it, but may.
func (m *manager) writeConfig() error {
	host, _, err := net.SplitHostPort(m.listen)
	if err != nil {
		return err
	}
	port, err := splitAddr(m.listen)
	if err != nil {
		return err
	}
	config := mosquittoconf.Config{
		Listeners: []mosquittoconf.Listener{{
			Port:    port,
			Address: host,
			TLS: &mosquittoconf.TLS{
				CAFile:   m.identity.Files.CA,
				CertFile: m.identity.Files.Cert,
				KeyFile:  m.identity.Files.Key,
				CRLFile:  m.path(crlName),
			},
		}},
		ACLFile: m.path(aclName),
		User:    m.brokerUser,
	}
	var text bytes.Buffer
	if _, err := config.WriteTo(&text); err != nil {
		return err
	}
	return durable.WriteFile(m.path(configName), text.Bytes(), durable.Attr{Mode: 0o644, Owner: m.owner})
}
