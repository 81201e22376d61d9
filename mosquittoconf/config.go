package mosquittoconf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Config is a configuration to be written for a broker of TLS devices.
//
// All paths are absolute: a broker looks for relative ones in the folder in
// which it happens to be started.
type Config struct {
	// Listeners are the ports to open; at least one.
	Listeners []Listener

	// Bridges are connections to other brokers.
	Bridges []Bridge

	// ACLFile says who may publish and receive what. Empty means that every
	// client that gets in may do everything.
	ACLFile string

	// ACLPlugin is the path of mosquitto_acl_file.so, which a broker of 2.1 or
	// later has somewhere below /usr/lib: then the file is the plugin's, as 3.0
	// wants it. Empty means acl_file, which brokers up to 2.1 take.
	ACLPlugin string

	// AllowAnonymous admits clients without a user name to the plain
	// listeners. TLS clients are not affected: their certificate names them.
	// It is an error without a plain listener.
	AllowAnonymous bool

	// User is the system user that a broker started as root becomes. Empty
	// means the broker's own choice, mosquitto.
	User string

	// PersistenceLocation is the folder in which retained messages and
	// sessions survive a restart. Empty means that they don't.
	PersistenceLocation string

	// LogDests are where the log goes: "stderr", "stdout", "syslog", "topic"
	// or "file" with a path, as in "file /var/log/mosquitto/mosquitto.log".
	// None means stderr.
	LogDests []string
}

// Listener is a port of the broker. It needs TLS, unless it is Plain.
type Listener struct {
	Port int // 1 to 65535

	// Address is an IP address or host name to bind to. Empty means all
	// interfaces.
	Address string

	// TLS is the listener's key material.
	TLS *TLS

	// Plain asks for a listener without TLS, which needs an Address and no
	// TLS. Everybody who reaches it can read and forge everything.
	Plain bool
}

// TLS is the key material of a listener, in PEM files. Clients must have a
// certificate from a CA of CAFile; its common name is their user name.
type TLS struct {
	CAFile string // CAs that issue client certificates

	// CAPath is a hashed directory of such CAs (see [HashDir]), beside CAFile
	// or instead of it. A broker finds what is added there without a signal.
	// Of the revocation lists in it that is true, too, if CRLFile is set, to
	// any valid list: so [AddCRL] is an alternative to replacing CRLFile.
	CAPath string

	CertFile string // the broker's certificate, of whatever CA, followed by the intermediate ones
	KeyFile  string // its private key, not encrypted; may be in the same file (see [Pair])

	// CRLFile holds a current revocation list of each CA that issues client
	// certificates; the clients of a CA without one are refused. Empty means
	// that revocation is not checked.
	CRLFile string

	// Version is the oldest protocol admitted, "tlsv1.2" or "tlsv1.3". Empty
	// means tlsv1.2.
	Version string
}

// WriteTo writes the configuration, with a comment for each line. If a field
// holds what would not mean the same to the broker, or would be unsafe,
// nothing is written; the error names the fields, all of them.
func (c *Config) WriteTo(w io.Writer) (int64, error) {
	if err := c.check(); err != nil {
		return 0, fmt.Errorf("mosquittoconf: %w", err)
	}
	var out bytes.Buffer
	c.render(&out)
	return out.WriteTo(w)
}

func (c *Config) render(out *bytes.Buffer) {
	set := func(comment, key, value string) {
		fmt.Fprintf(out, "# %s\n%s %s\n", comment, key, value)
	}
	if c.AllowAnonymous {
		set("Admit clients without a user name, where a listener does not ask for a certificate.", "allow_anonymous", "true")
	} else {
		set("Admit no client without a user name.", "allow_anonymous", "false")
	}
	switch {
	case c.ACLPlugin != "":
		set("The plugin that reads access rules,", "plugin", c.ACLPlugin)
		set("and who may publish and receive what.", "plugin_opt_acl_file", c.ACLFile)
	case c.ACLFile != "":
		set("Who may publish and receive what.", "acl_file", c.ACLFile)
	}
	if c.User != "" {
		set("The user that the broker becomes when it is started as root.", "user", c.User)
	}
	if c.PersistenceLocation != "" {
		set("Keep retained messages and sessions over a restart,", "persistence", "true")
		// The broker joins the name of its database to this as text.
		set("in this folder.", "persistence_location", strings.TrimRight(c.PersistenceLocation, "/")+"/")
	}
	dests := c.LogDests
	if len(dests) == 0 {
		dests = []string{"stderr"}
	}
	for _, dest := range dests {
		set("Where the log goes.", "log_dest", dest)
	}
	set("Send small messages at once: a TLS connect would wait 40 ms for an acknowledgement.", "set_tcp_nodelay", "true")

	for _, l := range c.Listeners {
		out.WriteByte('\n')
		value := fmt.Sprint(l.Port)
		if l.Address != "" {
			value += " " + l.Address
		}
		if l.Plain {
			set("MQTT without TLS: for clients that nobody can listen to.", "listener", value)
			continue
		}
		set("MQTT over TLS.", "listener", value)
		if l.TLS.CAFile != "" {
			set("The CAs that issue client certificates.", "cafile", l.TLS.CAFile)
		}
		if l.TLS.CAPath != "" {
			set("The folder of CAs that issue client certificates, and of their lists.", "capath", l.TLS.CAPath)
		}
		set("The broker's certificate,", "certfile", l.TLS.CertFile)
		set("and its private key.", "keyfile", l.TLS.KeyFile)
		if l.TLS.CRLFile != "" {
			set("The CAs' lists of revoked client certificates.", "crlfile", l.TLS.CRLFile)
		}
		version := l.TLS.Version
		if version == "" {
			version = defaultTLSVersion
		}
		set("The oldest protocol that a client may speak.", "tls_version", version)
		set("Refuse a client without a certificate.", "require_certificate", "true")
		set("The certificate's common name is the user name.", "use_identity_as_username", "true")
	}
	for _, b := range c.Bridges {
		out.WriteByte('\n')
		b.render(out, set)
	}
}

const defaultTLSVersion = "tlsv1.2"

var tlsVersions = []string{defaultTLSVersion, "tlsv1.3"}

func (c *Config) check() error {
	var errs []error
	field := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	field("ACLFile", optional(checkPath, c.ACLFile))
	field("ACLPlugin", optional(checkPath, c.ACLPlugin))
	if c.ACLPlugin != "" && c.ACLFile == "" {
		field("ACLFile", errors.New("it is empty (want the plugin's file: without it, everybody may do everything)"))
	}
	field("User", optional(checkUser, c.User))
	field("PersistenceLocation", optional(checkPath, c.PersistenceLocation))
	for i, dest := range c.LogDests {
		field(fmt.Sprintf("LogDests[%d]", i), checkLogDest(dest))
	}
	if len(c.Listeners) == 0 {
		field("Listeners", errors.New("there is none (want at least one)"))
	}
	plain := false
	for i, l := range c.Listeners {
		name := fmt.Sprintf("Listeners[%d]", i)
		field(name, l.check())
		plain = plain || l.Plain
		if l.TLS != nil {
			name += ".TLS."
			if l.TLS.CAPath == "" {
				field(name+"CAFile", checkPath(l.TLS.CAFile))
			} else {
				field(name+"CAFile", optional(checkPath, l.TLS.CAFile))
				field(name+"CAPath", checkPath(l.TLS.CAPath))
			}
			field(name+"CertFile", checkPath(l.TLS.CertFile))
			field(name+"KeyFile", checkPath(l.TLS.KeyFile))
			field(name+"CRLFile", optional(checkPath, l.TLS.CRLFile))
			if v := l.TLS.Version; v != "" && !slices.Contains(tlsVersions, v) {
				field(name+"Version", fmt.Errorf("unknown version %q (want %s)", v, strings.Join(tlsVersions, " or ")))
			}
		}
		for j, other := range c.Listeners[:i] {
			if l.Port == other.Port && (l.Address == other.Address || l.Address == "" || other.Address == "") {
				field(name, fmt.Errorf("port %d is that of Listeners[%d] already", l.Port, j))
			}
		}
	}
	for i, b := range c.Bridges {
		name := fmt.Sprintf("Bridges[%d]", i)
		b.check(func(part string, err error) { field(name+"."+part, err) })
		for j, other := range c.Bridges[:i] {
			if b.Name == other.Name {
				field(name+".Name", fmt.Errorf("%.60q is that of Bridges[%d] already", b.Name, j))
			}
			if b.ClientID != "" && b.ClientID == other.ClientID {
				field(name+".ClientID", fmt.Errorf("%.60q is that of Bridges[%d] already", b.ClientID, j))
			}
		}
	}
	if c.AllowAnonymous && !plain {
		field("AllowAnonymous", errors.New("no plain listener to which it applies"))
	}
	return errors.Join(errs...)
}

func (l *Listener) check() error {
	var errs []error
	if l.Port < 1 || l.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d (want 1 to 65535)", l.Port))
	}
	switch {
	case l.TLS != nil && l.Plain:
		errs = append(errs, errors.New("both TLS and Plain (want one)"))
	case l.TLS == nil && !l.Plain:
		errs = append(errs, errors.New("no TLS (want it, or Plain and an Address)"))
	case l.Plain && l.Address == "":
		errs = append(errs, errors.New("a plain listener without an Address would listen on all interfaces (want an address such as 127.0.0.1)"))
	}
	if l.Address != "" && !isAddress(l.Address) {
		errs = append(errs, fmt.Errorf("address %q (want an IP address or a host name)", l.Address))
	}
	return errors.Join(errs...)
}

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$`)
)

func isAddress(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		// The standard library takes anything for a zone, also a line break.
		return ip.Zone() == "" || hostName.MatchString(ip.Zone())
	}
	return hostName.MatchString(s)
}

func optional(check func(string) error, value string) error {
	if value == "" {
		return nil
	}
	return check(value)
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("it is empty (want a path)")
	case len(path) > maxPath:
		return fmt.Errorf("it is %d bytes long (want up to %d)", len(path), maxPath)
	case strings.Trim(path, blanks) != path:
		return fmt.Errorf("%q begins or ends with white space, which a broker removes", path)
	case !filepath.IsAbs(path):
		return fmt.Errorf("%q is relative to the folder in which a broker happens to be started (want an absolute path)", path)
	}
	if err := checkText(path); err != nil {
		return fmt.Errorf("%w in %q", err, path)
	}
	return nil
}

// maxPath is Linux's limit, which includes a final NUL.
const maxPath = 4095

func checkUser(name string) error {
	if !userName.MatchString(name) {
		return fmt.Errorf("%q is no name of a system user", name)
	}
	return nil
}

func checkLogDest(dest string) error {
	if path, ok := strings.CutPrefix(dest, "file "); ok {
		return checkPath(path)
	}
	if !slices.Contains([]string{"stderr", "stdout", "syslog", "topic"}, dest) {
		return fmt.Errorf("unknown destination %q (want stderr, stdout, syslog, topic or file PATH)", dest)
	}
	return nil
}
