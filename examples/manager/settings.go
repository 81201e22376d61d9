package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
	"github.com/dojot/mqtt-manager-go/internal/httpurl"
	"github.com/dojot/mqtt-manager-go/internal/loopback"
)

const usage = `Usage: manager dev [options]      everything embedded: CA, Kafka, login, broker
       manager serve [options]    beside your own EJBCA-REST and Kafka

Keeps a Mosquitto broker in step with dojot: its access rules follow the
devices' events, its certificate and revocation list are kept fresh.

  manager dev
  manager serve --ejbca-url http://ejbca:5583 --kafka kafka:9092 --dir /var/lib/mqtt-manager
  manager serve --convention tenant-id --pid-file /run/mosquitto/mosquitto.pid --broker-version 2.0.11

Each option can be given in the environment too, as MQTT_MANAGER_ and its name
in capitals: MQTT_MANAGER_EJBCA_URL. The original's variables are honoured:
MQTTREST_EJBCA_URL, MQTTREST_CA_NAME, MQTTREST_KEY_LENGTH (and _LENGHT),
MQTTREST_KAFKA_HOST.

Options:
`

// settings are what an operator can say.
type settings struct {
	dir          string
	ejbcaURL     string
	caName       string
	keyBits      int
	kafka        []string
	security     kafkaSecurity
	group        string
	listen       string // the broker's TLS listener
	api          string // the manager's HTTP API
	apiTokenFile string
	dns          []string
	ips          []net.IP
	verbose      bool

	mosquitto     string // the broker's binary
	brokerUser    string
	pidFile       string
	reloadCommand string
	brokerVersion string
	brokerAddr    string

	convention   string
	userTemplate string
	rules        []string
	agent        string
	agentRules   []string

	register    bool
	revoke      bool
	crlInterval time.Duration

	// Of serve alone: dojot's services.
	dataBroker     string
	deviceManager  string
	reconcileEvery time.Duration
	removeGone     bool
	auth           string

	// Of dev alone.
	gateway   string // where login and CA are served
	kafkaPort int
	login     string
}

// conventions are the two ways in which dojot has named devices.
var conventions = map[string]struct {
	user       string
	rules      []string
	agentRules []string
}{
	"classic": {
		user:       "{id}",
		rules:      []string{"write /{tenant}/{id}/attrs"},
		agentRules: []string{"read /#"},
	},
	"tenant-id": {
		user:       "{tenant}:{id}",
		rules:      []string{"write {tenant}:{id}/attrs", "read {tenant}:{id}/config"},
		agentRules: []string{"read +/attrs", "write +/config"},
	},
}

// originals are the variables of the manager that this one replaces, by the
// option that they set. The misspelt one is what its users had to write.
var originals = map[string][]string{
	"ejbca-url":  {"MQTTREST_EJBCA_URL"},
	"ca-name":    {"MQTTREST_CA_NAME"},
	"key-length": {"MQTTREST_KEY_LENGTH", "MQTTREST_KEY_LENGHT"},
	"kafka":      {"MQTTREST_KAFKA_HOST"},
}

type usageError struct{ error }

// parse reads options and environment. Mode is "dev" or "serve".
func parse(mode string, args []string, getenv func(string) string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	dev := mode == "dev"
	flags := pflag.NewFlagSet("manager "+mode, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard) // main prints the error once

	pick := func(forDev, forServe string) string {
		if dev {
			return forDev
		}
		return forServe
	}
	flags.StringVar(&s.dir, "dir", pick("dojot-dev", "."), "the folder for the files of the broker (dev: and the state of CA and Kafka)")
	flags.StringVar(&s.listen, "listen", pick("127.0.0.1:8883", ":8883"), "the broker's TLS listener")
	flags.StringVar(&s.api, "api", "127.0.0.1:9010", "the manager's HTTP API; "+pick("on loopback only", "elsewhere than on loopback it needs a token"))
	flags.StringVar(&s.caName, "ca-name", "IOTmidCA", "the CA's name")
	flags.IntVar(&s.keyBits, "key-length", 2048, "length of the broker's RSA key, in bits")
	flags.StringArrayVar(&s.dns, "dns", []string{"mqtt", "mosquitto", "localhost"}, "a name that clients connect to, for the broker's certificate; may be repeated")
	flags.IPSliceVar(&s.ips, "ip", []net.IP{net.IPv4(127, 0, 0, 1)}, "an address that clients connect to; may be repeated")
	flags.StringVar(&s.mosquitto, "mosquitto", "", "the broker's binary (mosquitto on the path, or in /usr/sbin)")
	flags.StringVar(&s.brokerUser, "broker-user", "", "the user that the broker runs as and that owns its files"+pick(" (the manager's own)", " (the manager's own; if that is root, mosquitto)"))
	flags.StringVar(&s.convention, "convention", "classic", "how devices are named: classic (user <id>, topic /<tenant>/<id>/attrs) or tenant-id (user <tenant>:<id>, topics <tenant>:<id>/attrs and /config)")
	flags.StringVar(&s.userTemplate, "user", "", "a device's user name, a template of {tenant} and {id} (by the convention)")
	flags.StringArrayVar(&s.rules, "rule", nil, "what a device may do, like 'write /{tenant}/{id}/attrs'; may be repeated (by the convention)")
	flags.StringVar(&s.agent, "agent", "iotagent", "the platform's own user, for a new ACL file")
	flags.StringArrayVar(&s.agentRules, "agent-rule", nil, "what it may do, like 'read /#'; may be repeated (by the convention)")
	flags.BoolVar(&s.register, "register", dev, "register each device at the CA, so that it can enrol; leave it to EJBCA-REST if that reads the events itself")
	flags.BoolVar(&s.revoke, "revoke", dev, "revoke the certificates of a removed device")
	every := time.Minute
	if dev {
		every = 2 * time.Second
	}
	flags.DurationVar(&s.crlInterval, "crl-interval", every, "how often the CA is asked for a newer revocation list")
	flags.StringVar(&s.group, "group", "mqtt-manager", "the Kafka consumer group")
	flags.BoolVarP(&s.verbose, "verbose", "v", false, "log what the broker prints, and more")
	if dev {
		flags.StringVar(&s.gateway, "gateway", "127.0.0.1:8000", "where the development login and the CA are served")
		flags.IntVar(&s.kafkaPort, "kafka-port", 9092, "the port of the embedded Kafka, on 127.0.0.1; 0 is any")
		flags.StringVar(&s.login, "login", "admin", "the development login's user; the password is the same")
	} else {
		flags.StringVar(&s.ejbcaURL, "ejbca-url", "http://ejbca:5583", "EJBCA-REST")
		flags.StringSliceVar(&s.kafka, "kafka", []string{"kafka:9092"}, "Kafka's brokers, host:port, separated by commas")
		flags.BoolVar(&s.security.tls, "kafka-tls", false, "connect to Kafka with TLS, trusting the CAs that this machine trusts")
		flags.StringVar(&s.security.caFile, "kafka-ca", "", "connect to Kafka with TLS, trusting the CA certificates in this file (PEM)")
		flags.StringVar(&s.security.user, "kafka-user", "", "the manager's user at Kafka (Kafka asks for none)")
		flags.StringVar(&s.security.passwordFile, "kafka-password-file", "", "a file with its password")
		flags.StringVar(&s.security.mechanism, "kafka-sasl", dojotkafka.ScramSHA512, "how Kafka checks it: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN")
		flags.StringVar(&s.dataBroker, "data-broker", "", "dojot's data-broker, which knows the topics of each tenant's events: dojot up to 0.4 gave them names that say nothing (topics are found by their names)")
		flags.StringVar(&s.deviceManager, "device-manager", "", "dojot's device-manager: its list is compared with the ACL file, what is missing is added, and what it does not list is named in the log")
		flags.DurationVar(&s.reconcileEvery, "reconcile-interval", time.Hour, "with --device-manager: how often that is done, for the first time at the start")
		flags.BoolVar(&s.removeGone, "remove-gone", false, "with --device-manager: remove the devices that it does not list, of any tenant")
		flags.StringVar(&s.auth, "auth", "http://auth:5000", "dojot's auth service, which lists the tenants for --data-broker and --device-manager")
		flags.StringVar(&s.apiTokenFile, "api-token-file", "", "a file with the token that requests to the API carry, as Authorization: Bearer <token>; /healthz needs none (nobody is asked)")
		flags.StringVar(&s.pidFile, "pid-file", "", "the broker is run by somebody else: signal the process that this file names")
		flags.StringVar(&s.reloadCommand, "reload-command", "", "the broker is run by somebody else: this command, split at blanks, makes it reload")
		flags.StringVar(&s.brokerVersion, "broker-version", "", "the version of a broker that somebody else runs, like 2.0.11 (that of the binary here)")
		flags.StringVar(&s.brokerAddr, "broker-addr", "", "where to reach the broker, to see that it is up and has reloaded (the listener's port on this host)")
	}
	help := flags.Bool("help", false, "print this text")

	if err := flags.Parse(args); err != nil {
		return nil, &usageError{err}
	}
	if err := fromEnvironment(flags, getenv); err != nil {
		return nil, &usageError{err}
	}
	if *help {
		fmt.Fprint(stderr, usage+flags.FlagUsages())
		return nil, pflag.ErrHelp
	}
	if flags.NArg() > 0 {
		return nil, &usageError{fmt.Errorf("unexpected argument %q (see --help)", flags.Arg(0))}
	}
	if err := s.complete(); err != nil {
		return nil, &usageError{err}
	}
	if s.brokerUser == "" && os.Geteuid() == 0 {
		// A broker that is started as root becomes mosquitto unless told
		// otherwise. In dev its files are wherever the user is, often in a
		// home folder that nobody else may enter, and it listens on loopback.
		s.brokerUser = pick("root", "mosquitto")
	}
	return s, nil
}

// fromEnvironment sets the options that are not on the command line from
// their variables. Those that may be repeated are separated by commas there.
func fromEnvironment(flags *pflag.FlagSet, getenv func(string) string) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			return
		}
		own := "MQTT_MANAGER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		for _, name := range append([]string{own}, originals[f.Name]...) {
			value := getenv(name)
			if value == "" {
				continue
			}
			var err error
			if list, ok := f.Value.(pflag.SliceValue); ok {
				err = list.Replace(strings.Split(value, ","))
			} else {
				err = f.Value.Set(value)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s=%q: %w", name, value, err))
			}
			return
		}
	})
	return errors.Join(errs...)
}

// complete checks what can be checked without asking anybody, and fills in
// what follows from the rest.
func (s *settings) complete() error {
	convention, ok := conventions[s.convention]
	if !ok {
		return fmt.Errorf("--convention %q: want classic or tenant-id", s.convention)
	}
	if s.userTemplate == "" {
		s.userTemplate = convention.user
	}
	if len(s.rules) == 0 {
		s.rules = convention.rules
	}
	if len(s.agentRules) == 0 {
		s.agentRules = convention.agentRules
	}
	if s.pidFile != "" && s.reloadCommand != "" {
		return errors.New("want one of --pid-file and --reload-command")
	}
	for _, a := range []struct{ flag, addr string }{
		{"--listen", s.listen}, {"--api", s.api}, {"--gateway", s.gateway}, {"--broker-addr", s.brokerAddr},
	} {
		if a.addr == "" {
			continue
		}
		if _, err := splitAddr(a.addr); err != nil {
			return fmt.Errorf("%s %w", a.flag, err)
		}
	}
	if err := s.security.check(); err != nil {
		return err
	}
	if s.apiTokenFile == "" && !loopback.Is(s.api) {
		return fmt.Errorf("--api %s: whoever can connect could change devices; want an address like 127.0.0.1:9010, or serve with --api-token-file", s.api)
	}
	for _, u := range []struct{ flag, url string }{
		{"--ejbca-url", s.ejbcaURL}, {"--data-broker", s.dataBroker}, {"--device-manager", s.deviceManager}, {"--auth", s.auth},
	} {
		if u.url == "" {
			continue
		}
		if _, err := httpurl.Parse(u.url); err != nil {
			return fmt.Errorf("%s %w", u.flag, err)
		}
	}
	if s.deviceManager != "" && s.reconcileEvery < time.Second {
		return fmt.Errorf("--reconcile-interval %v: want at least a second", s.reconcileEvery)
	}
	if s.removeGone && s.deviceManager == "" {
		return errors.New("--remove-gone: want --device-manager, to know what is gone")
	}
	if s.caName == "" || filepath.Base(s.caName) != s.caName {
		return fmt.Errorf("--ca-name %q: want a name", s.caName)
	}
	if s.crlInterval < time.Second {
		return fmt.Errorf("--crl-interval %v: want at least a second", s.crlInterval)
	}
	var err error
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if s.brokerAddr == "" {
		host, port, _ := net.SplitHostPort(s.listen)
		if host == "" || net.ParseIP(host).IsUnspecified() {
			host = "127.0.0.1"
		}
		s.brokerAddr = net.JoinHostPort(host, port)
	}
	_, err = s.naming()
	return err
}

// brokerName is what the broker's certificate calls it, and so the user as
// which the manager itself connects.
const brokerName = "mosquitto"

func (s *settings) naming() (*fleet.Naming, error) {
	return fleet.NewNaming(s.userTemplate, s.rules...)
}

// ownsBroker tells whether the broker is a child of the manager.
func (s *settings) ownsBroker() bool { return s.pidFile == "" && s.reloadCommand == "" }

func (s *settings) reserved() []string { return []string{brokerName, s.agent} }

// serverName is a name that the broker's certificate carries.
func (s *settings) serverName() string {
	if i := slices.IndexFunc(s.dns, func(name string) bool { return !strings.HasPrefix(name, "*") }); i >= 0 {
		return s.dns[i]
	}
	if len(s.ips) > 0 {
		return s.ips[0].String()
	}
	return brokerName
}

func splitAddr(addr string) (port int, err error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("%q: want host:port", addr)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("%q: want a port of 1 to 65535", addr)
	}
	return port, nil
}

// owner is the numeric identity of the broker's user.
func (s *settings) owner() (uid, gid int, err error) {
	u, err := user.Lookup(s.brokerUser)
	if err != nil {
		return 0, 0, fmt.Errorf("--broker-user: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(err1, err2)
}
