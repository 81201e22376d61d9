package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
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
)

// probeTopic is where nobody may publish.
const probeTopic = "mqtt-manager/probe"

func (m *manager) path(name string) string { return filepath.Join(m.dir, name) }

// newManager brings the broker's files into order, waiting for the CA as long
// as it takes, and returns a manager whose broker can be started.
func newManager(ctx context.Context, s *settings, ca *ejbca.Client, log *slog.Logger) (_ *manager, err error) {
	m := &manager{settings: s, ca: ca, log: log}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
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
	if err := retry(ctx, log, "waiting for the CA at "+ca.BaseURL, m.provision); err != nil {
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
	if err := m.openACL(); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, errors.Join(err, m.acl.Close())
	}
	return m, nil
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
			Logger: m.log.With("from", "mosquitto"),
		}
	}
	return nil
}

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
		m.log.Info("revocation list installed", "number", list.Number, "revoked", len(list.RevokedCertificateEntries), "until", list.NextUpdate)
		return nil
	}
	return nil
}

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
		Seed: seed, Mode: 0o640, Owner: (*acl.Owner)(m.owner), Written: m.reloader.Reload,
	})
	if err != nil {
		return err
	}
	m.fleet = &fleet.Fleet{Naming: naming, Store: m.acl, Reserved: m.reserved()}
	if m.register || m.revoke {
		m.fleet.Registrar = &registrar{manager: m}
	}
	return nil
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

// check judges the files as the broker would find them: an error means that
// reading them would open it or end it.
func (m *manager) check() error {
	var errs []error
	if err := m.checkACL(); err != nil {
		errs = append(errs, err)
	}
	if err := m.list.Check(time.Now()); errors.Is(err, crl.ErrUnloadable) {
		errs = append(errs, err)
	}
	if m.child != nil {
		errs = append(errs, m.checkConfig()...)
	}
	return errors.Join(errs...)
}

func (m *manager) checkACL() error {
	path := m.path(aclName)
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %s, not a regular file", path, info.Mode().Type())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := m.grammar.Parse(path, data)
	if err != nil {
		return err
	}
	return m.checkProbe(file)
}

// checkProbe makes sure that the probe's user may not publish to the probe's
// topic, or a broker that is open to everybody would look like one that works
// by its rules. Only the user's own rules and the patterns can let it.
func (m *manager) checkProbe(file *acl.File) error {
	var lines strings.Builder
	for rule := range file.Patterns() {
		fmt.Fprintf(&lines, "pattern %v\n", rule)
	}
	fmt.Fprintf(&lines, "user %s\n", brokerName)
	for rule := range file.Rules(brokerName) {
		fmt.Fprintf(&lines, "topic %v\n", rule)
	}
	relevant, err := m.grammar.Parse("rules that concern "+brokerName, []byte(lines.String()))
	if err != nil {
		return err
	}
	broker := acl.Client{Username: brokerName}
	if d := relevant.Compile(m.grammar).Explain(broker, acl.Write, probeTopic); d.Allowed {
		return fmt.Errorf("%s: user %q, as whom the manager sees whether the rules are in force, may publish to %q (%s); give it no such right",
			m.path(aclName), brokerName, probeTopic, d.Reason)
	}
	return nil
}

// clientsDecide are the faults for which clients refuse the broker, whether it
// reloads or not: no reason to withhold a change of rules from it.
var clientsDecide = []string{"certificate-expired", "certificate-not-yet-valid", "certificate-not-for-servers"}

func (m *manager) checkConfig() []error {
	findings, err := m.findings()
	if err != nil {
		return []error{err}
	}
	var errs []error
	for _, f := range findings {
		if !slices.Contains(clientsDecide, f.ID) {
			errs = append(errs, errors.New(f.String()))
		}
	}
	return errs
}

// findings are the serious faults of the configuration and the files that it
// names.
func (m *manager) findings() ([]mosquittoconf.Finding, error) {
	path := m.path(configName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, err := mosquittoconf.Parse(path, data)
	if err != nil {
		return nil, err
	}
	env := mosquittoconf.Environment{Dir: m.dir, Now: time.Now(), Version: m.version}
	if m.owner != nil {
		env.UID, env.GID = m.owner.UID, m.owner.GID
	}
	version, err := mosquittoconf.ParseVersion(m.version)
	if err != nil {
		return nil, err
	}
	found := append(file.Vet(version), file.CheckFiles(env)...)
	return slices.DeleteFunc(found, func(f mosquittoconf.Finding) bool {
		return f.Severity < mosquittoconf.Trap
	}), nil
}

// probeTLS is how the manager connects to its own broker: with the broker's
// certificate, whose user has no rights.
func (m *manager) probeTLS() (*tls.Config, error) {
	config, err := provision.TLSConfig(m.identity.Files)
	if err != nil {
		return nil, err
	}
	config.ServerName = m.serverName()
	config.MaxVersion = tls.VersionTLS12 // see mosquitto.Probe
	return config, nil
}

// run starts the broker, if it is ours, and keeps everything going until ctx
// ends or a part fails for good. Then it stops the parts before the broker.
// Up is called when the broker answers.
func (m *manager) run(ctx context.Context, kafka []string, up func() error) (err error) {
	defer func() { err = errors.Join(err, m.acl.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	brokerCtx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	brokerEnded := make(chan struct{})
	go func() {
		defer close(brokerEnded)
		if m.child == nil {
			return
		}
		if err := m.child.Run(brokerCtx); err != nil {
			cancel(err) // it could not be started
		}
	}()
	defer func() {
		stopBroker()
		<-brokerEnded
	}()

	if m.child != nil {
		err = m.reloader.Ready(ctx)
	} else {
		m.log.Info("waiting for the broker", "at", m.brokerAddr)
		// The files may have changed since it read them.
		err = m.reloader.Reload(ctx)
	}
	if err != nil {
		return cause(ctx, err)
	}
	m.log.Info("the broker is up", "version", m.version, "listener", m.listen)

	api, err := net.Listen("tcp", m.api)
	if err != nil {
		return fmt.Errorf("--api: %w", err)
	}
	work, workCtx := errgroup.WithContext(ctx)
	consumer := m.consumer(kafka)
	work.Go(func() error { return consumer.Run(workCtx, m.handle) })
	work.Go(func() error { return m.lists.Run(workCtx) })
	work.Go(func() error { return m.renew(workCtx) })
	work.Go(func() error { return serveHTTP(workCtx, api, m.handler(consumer), m.log) })
	if err := up(); err != nil {
		cancel(err)
	}
	err = work.Wait()
	if ctx.Err() != nil {
		return cause(ctx, nil)
	}
	return err
}

// cause is why ctx ended, or err if it has not. Being asked to end is no
// error.
func cause(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if c := context.Cause(ctx); !errors.Is(c, context.Canceled) {
		return c
	}
	return nil
}

// renew keeps the broker's certificate from expiring, and has the broker read
// a new one.
func (m *manager) renew(ctx context.Context) error {
	identity := *m.identity
	identity.Report = nil
	renewer := &provision.Renewer{
		Identity: &identity,
		CA:       &followedCA{Issuer: m.issuer(), chain: m.chain, log: m.log},
		Changed:  m.reloader.Reload,
		Logger:   m.log.With("of", "the broker"),
	}
	return renewer.Run(ctx)
}

// followedCA is the CA that the manager began with. One that was built anew
// under its name is not followed: the broker's clients have certificates of
// the old one, and whether they are all to be refused from now on is for an
// operator to say.
type followedCA struct {
	*ejbca.Issuer
	chain []*x509.Certificate
	log   *slog.Logger
}

func (ca *followedCA) Chain(ctx context.Context) ([]*x509.Certificate, error) {
	chain, err := ca.Issuer.Chain(ctx)
	if err == nil && !slices.EqualFunc(chain, ca.chain, (*x509.Certificate).Equal) {
		err = errors.New("the CA has another certificate now; restart the manager to follow it")
		ca.log.Error("the broker's certificate will not be renewed", "cause", err)
	}
	return chain, err
}

// retry repeats do, with growing pauses and a line in the log for each, until
// it succeeds, ctx ends, or it fails for another reason than the CA's.
func retry(ctx context.Context, log *slog.Logger, doing string, do func(context.Context) error) error {
	const longest = 30 * time.Second
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, longest) {
		err := do(ctx)
		if !errors.As(err, new(*ejbca.Error)) {
			return err
		}
		log.Warn(doing, "next try in", pause, "cause", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
