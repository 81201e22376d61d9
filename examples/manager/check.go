package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/provision"
)

// check judges the files as the broker would find them: an error means that
// reading them would open it or end it. A broker that somebody else runs reads
// the same key, certificates and lists, so they are judged by our configuration
// for it, too.
func (m *manager) check() error {
	var errs []error
	if err := m.checkACL(); err != nil {
		errs = append(errs, err)
	}
	if err := m.list.Check(time.Now()); errors.Is(err, crl.ErrUnloadable) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, m.checkConfig()...)...)
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
