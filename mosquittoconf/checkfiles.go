package mosquittoconf

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Environment is the broker for which files are checked.
type Environment struct {
	// Dir is the broker's working directory, where relative paths start.
	// Empty means that of this process.
	Dir string

	// UID and GID are the broker's user, once it has given up being root, and
	// Groups the other groups of that user. UID 0 means that the broker may
	// read everything; then none is looked at.
	UID, GID int
	Groups   []int

	// Now is when the material must be valid. Zero means the current time.
	Now time.Time

	// Names are those that clients connect to: host names or IP addresses.
	// None means that they are not known.
	Names []string

	// FollowsSymlinks says that MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is set for the
	// broker, so that 2.1.1 and later follow the links that Kubernetes makes of
	// mounted files. Brokers up to 2.0 always do.
	FollowsSymlinks bool

	// Version is the broker's, such as "2.0.11". Empty, or one that is not
	// understood, means the newest.
	Version string
}

// CheckFiles looks at the files that the configuration names as a broker in
// env would, and returns what is wrong, in the order of the directives. It
// changes nothing and does not connect to anything.
//
// Of any file: "file-missing", "file-not-regular", "file-unreadable" for the
// broker's user, "not-checked" if this process may not read it or does not
// understand it. The path is taken for what it says: POSIX ACLs and other
// processes' mounts are not seen.
//
// Of a TLS listener's CAs: "cafile-invalid", "ca-none", "ca-expired",
// "capath-unhashed".
//
// Of its certificate and key: "certfile-invalid", "certificate-expired",
// "certificate-expires-soon", "certificate-not-yet-valid",
// "certificate-not-for-servers", "certificate-without-names",
// "certificate-name" (clients that connect to one of env.Names refuse the
// broker), "chain-unverified", "keyfile-invalid", "key-encrypted",
// "key-mismatch", "key-exposed", "ciphers-unfit", "dhparamfile-invalid".
//
// Of its revocation lists: "crlfile-invalid", "crl-foreign" (no list is of a CA
// in cafile, so every client is refused), "crl-missing" for one CA,
// "crl-expired", "crl-expires-soon", "crl-unusable". They go by what
// [crl.Complete] says. That a list has expired is a warning although its CA's
// clients are all refused: they are already, because the broker judges the
// copy in its memory by the clock.
//
// Of acl_file, password_file and psk_file, also as options of 2.1's plugins:
// "symlink" (2.1 refuses one), "world-readable" and "owner" (2.0.16 and later
// warn), "acl-invalid", "acl-nul", "acl-empty",
// "acl-patterns-kept" (1.4), "password-invalid" and
// "psk-invalid".
//
// Of a bridge: "bridge-ca", "bridge-certificate".
//
// Of plugins: "plugin-invalid". Of what the broker writes: "folder-missing".
//
// What only a start on that machine shows is not looked for: a port in use, an
// address, interface, user, engine or cipher that does not exist there.
//
// "include-dir" says that there are other files, which are not checked.
func (f *File) CheckFiles(env Environment) []Finding {
	c := checker{findings: &findings{}, env: env, version: newest}
	if v, err := ParseVersion(env.Version); err == nil {
		c.version = v
	}
	if c.env.Now.IsZero() {
		c.env.Now = time.Now()
	}
	for _, l := range f.Listeners() {
		c.listener(&l.options)
	}
	c.names()
	for _, b := range f.bridges() {
		c.bridge(b)
	}
	counts := make(map[slot]*statement) // the last line of each, from 2.1 on; up to 2.0 there is one
	for i := range f.statements {
		d := &f.statements[i]
		counts[slotOf(d)] = d
	}
	for i := range f.statements {
		d := &f.statements[i]
		switch d.Key {
		case "acl_file", "password_file", "psk_file":
			if counts[slotOf(d)] == d {
				c.guarded(d)
			}
		case "plugin_opt_acl_file", "plugin_opt_password_file":
			c.guarded(d)
		case "plugin", "auth_plugin", "global_plugin", "plugin_load":
			c.library(d)
		case "pid_file":
			if !c.version.atLeast(2, 0, 0) {
				continue // a daemon writes it, and goes on without
			}
			c.folder(Refused, d, d.Value, "the broker does not start")
		case "log_dest":
			if path, ok := strings.CutPrefix(d.Value, "file "); ok {
				c.folder(Trap, d, strings.TrimLeft(path, " \t"), "nothing is logged")
			}
		case "persistence_location":
			if on, _ := f.Get("persistence"); isTrue(on) {
				c.folder(Trap, d, filepath.Join(d.Value, "mosquitto.db"), "nothing survives a restart")
			}
		case "listener":
			if port, path := parseListener(d.Value); port == 0 && path != "" {
				c.folder(Refused, d, path, "the broker does not start")
			}
		case "http_dir":
			if _, err := os.Stat(c.path(d)); c.version.atLeast(2, 1, 0) && err != nil {
				c.refused(d, "file-missing", fmt.Sprintf("http_dir: %v", err), "make the folder, or remove the line")
			}
		case "include_dir":
			if _, loaded := d.file.included[d.line]; loaded || d.file.parent != nil {
				continue
			}
			dir := c.absolute(d.line.rest)
			if info, err := os.Stat(dir); err != nil || !info.IsDir() {
				c.refused(d, "file-missing", fmt.Sprintf("include_dir %s is no folder", dir), "make it, or remove the line")
				continue
			}
			c.warn(d, "include-dir", fmt.Sprintf("the files in %s are not checked", d.Value), "check each of them")
		}
	}
	return c.sorted()
}

type checker struct {
	*findings
	env     Environment
	version Version
	served  []served
}

// served is a certificate that clients see.
type served struct {
	certfile *statement
	leaf     *x509.Certificate
}

// slot is where an option can be set.
type slot struct {
	key   string
	scope Scope
	file  *File // nil if the scope has no line
}

func slotOf(d *statement) slot {
	at := slot{key: d.Key, scope: d.Scope}
	if d.Scope.Line > 0 {
		at.file = d.file
	}
	return at
}

// path is that of the file that d names.
func (c *checker) path(d *statement) string { return c.absolute(d.Value) }

func (c *checker) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.env.Dir, path)
}

// folder checks that there is one for a file that the broker writes.
func (c *checker) folder(severity Severity, d *statement, path, effect string) {
	path = c.absolute(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		c.add(severity, d, "file-not-regular", fmt.Sprintf("%s: %s is a folder: %s", d.Key, path, effect), "name a file")
		return
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		c.add(severity, d, "folder-missing", fmt.Sprintf("%s: there is no folder %s: %s", d.Key, dir, effect), "make it, for the broker's user to write")
	}
}

// library checks a plugin's file.
func (c *checker) library(d *statement) {
	path := d.Value
	if d.Key == "plugin_load" {
		_, path = cutWord(path)
	}
	if !strings.Contains(path, "/") {
		return // it is looked for where libraries are
	}
	path = c.absolute(path)
	const remedy = "install the plugin or correct the path, which differs between distributions"
	head := make([]byte, len(elf))
	in, err := os.Open(path)
	if err == nil {
		defer in.Close()
		_, err = io.ReadFull(in, head)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.refused(d, "file-missing", fmt.Sprintf("%s %s does not exist", d.Key, path), remedy)
	case errors.Is(err, fs.ErrPermission):
		c.warn(d, "not-checked", fmt.Sprintf("%s: %v", d.Key, err), "check as a user who may read it")
	case runtime.GOOS == "linux" && string(head) != elf:
		c.refused(d, "plugin-invalid", fmt.Sprintf("%s %s is no shared library", d.Key, path), remedy)
	}
}

// elf begins each executable and library of Linux.
const elf = "\x7fELF"

// maxFile is far above a list of a million revoked certificates, 47 MB.
const maxFile = 1 << 28

// read returns the content of the file that d names, or reports why not.
func (c *checker) read(d *statement) ([]byte, bool) {
	path := c.path(d)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.refused(d, "file-missing", fmt.Sprintf("%s %s does not exist", d.Key, path), "put the file there or correct the path")
		return nil, false
	case err != nil:
		c.warn(d, "not-checked", fmt.Sprintf("%s: %v", d.Key, err), "check as a user who may read it")
		return nil, false
	case d.Key == "password_file" && info.IsDir() && !c.version.atLeast(2, 0, 16):
		c.refused(d, "file-not-regular", fmt.Sprintf("password_file %s is a folder, which this broker tries to read for ever", path), "put a file there or correct the path")
		return nil, false
	case d.Key == "acl_file" && info.IsDir() && !c.version.atLeast(2, 0, 16):
		c.trap(d, "file-not-regular", fmt.Sprintf("acl_file %s is a folder, which this broker reads, slowly, as a file without rules: nobody may do anything", path), "put a file there or correct the path")
		return nil, false
	case !info.Mode().IsRegular():
		c.refused(d, "file-not-regular", fmt.Sprintf("%s %s is not a regular file", d.Key, path), "put a file there or correct the path")
		return nil, false
	}
	if obstacle := c.obstacle(path); obstacle != "" {
		severity, message := Refused, fmt.Sprintf("user %d of the broker cannot read %s %s: %s", c.env.UID, d.Key, path, obstacle)
		if !c.version.atLeast(2, 0, 0) {
			// It reads its files as root when it starts, and not later.
			severity, message = Trap, message+"; 1.x starts, and fails at the first SIGHUP"
		}
		c.add(severity, d, "file-unreadable", message, "give the file to the broker's user or group, with mode 0640 or 0600")
	}
	if info.Size() > maxFile {
		c.warn(d, "not-checked", fmt.Sprintf("%s %s has %d bytes", d.Key, path, info.Size()), "check that it is what it should be")
		return nil, false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		c.warn(d, "not-checked", fmt.Sprintf("%s: %v", d.Key, err), "check as a user who may read it")
		return nil, false
	}
	return data, true
}
