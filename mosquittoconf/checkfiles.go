package mosquittoconf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

	// Version is the broker's, such as "2.0.11". Empty, or one that is not
	// understood, means the newest.
	Version string
}

// Severity says what a finding means for a broker that reads the files.
type Severity uint8

const (
	// Warning is a fault that the broker survives, or one that a reload does
	// not make worse.
	Warning Severity = iota
	// Fatal is a fault with which a start or a SIGHUP stops the broker, opens
	// it to everybody, or fails all its TLS handshakes.
	Fatal
)

func (s Severity) String() string {
	switch s {
	case Warning:
		return "warning"
	case Fatal:
		return "fatal"
	}
	return "Severity(" + strconv.Itoa(int(s)) + ")"
}

// Finding is a fault in the material of a configuration.
type Finding struct {
	ID       string // what it is, such as "certificate-expired"; see [File.CheckFiles]
	File     string // the configuration, as given to Parse
	Line     int    // of the directive that names the material
	Severity Severity
	Message  string // what is wrong with which file
	Remedy   string // what to do about it
}

// String returns the finding in a line: position, severity, message, remedy.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s; %s", f.File, f.Line, f.Severity, f.Message, f.Remedy)
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
// Of a TLS listener: "tls-incomplete" (up to 2.0.20 such a listener speaks
// plain MQTT), "ca-unset", "cafile-invalid", "ca-none", "ca-expired",
// "certfile-invalid", "certificate-expired", "certificate-not-yet-valid",
// "certificate-not-for-servers", "chain-unverified", "keyfile-invalid",
// "key-encrypted", "key-mismatch", "key-exposed", "crlfile-invalid",
// "crl-foreign" (no list is of a CA in cafile, so every client is refused),
// "crl-missing" for one CA, "crl-expired", "crl-unusable". That a list has
// expired is a warning although its CA's clients are all refused: they are
// already, because the broker judges the copy in its memory by the clock.
//
// Of acl_file, password_file and psk_file: "symlink" (2.1 refuses one),
// "world-readable" and "owner" (2.0.16 and later warn), and "acl-empty". What
// the files say is not read.
//
// "include-dir" says that there are other files, which are not checked.
func (f *File) CheckFiles(env Environment) []Finding {
	c := checker{file: f, env: env, version: parseVersion(env.Version)}
	if c.env.Now.IsZero() {
		c.env.Now = time.Now()
	}
	for _, l := range f.Listeners() {
		c.listener(&l)
	}
	for _, d := range f.directives {
		switch d.Key {
		case "acl_file", "password_file", "psk_file":
			c.guarded(d)
		case "include_dir":
			c.warn(d, "include-dir", fmt.Sprintf("the files in %s are not checked", d.Value), "check each of them")
		}
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
	return c.findings
}

type checker struct {
	file     *File
	env      Environment
	version  [3]int
	findings []Finding
}

func (c *checker) fatal(d Directive, id, message, remedy string) {
	c.add(Fatal, d, id, message, remedy)
}
func (c *checker) warn(d Directive, id, message, remedy string) {
	c.add(Warning, d, id, message, remedy)
}

func (c *checker) add(s Severity, d Directive, id, message, remedy string) {
	c.findings = append(c.findings, Finding{
		ID: id, File: c.file.name, Line: d.Line, Severity: s, Message: message, Remedy: remedy,
	})
}

// parseVersion returns a version above all others for one that it does not
// understand. A suffix as in 2.1.0-rc1 is ignored.
func parseVersion(s string) (v [3]int) {
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	for i := range v {
		n, err := strconv.Atoi(parts[min(i, len(parts)-1)])
		if err != nil || len(parts) != len(v) {
			return [3]int{math.MaxInt}
		}
		v[i] = n
	}
	return v
}

func (c *checker) atLeast(major, minor, patch int) bool {
	return slices.Compare(c.version[:], []int{major, minor, patch}) >= 0
}

func (c *checker) path(d Directive) string {
	if filepath.IsAbs(d.Value) {
		return d.Value
	}
	return filepath.Join(c.env.Dir, d.Value)
}

// maxFile is far above a list of a million revoked certificates, 47 MB.
const maxFile = 1 << 28

// read returns the content of the file that d names, or reports why not.
func (c *checker) read(d Directive) ([]byte, bool) {
	path := c.path(d)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.fatal(d, "file-missing", fmt.Sprintf("%s %s does not exist", d.Key, path), "put the file there or correct the path")
		return nil, false
	case err != nil:
		c.warn(d, "not-checked", fmt.Sprintf("%s: %v", d.Key, err), "check as a user who may read it")
		return nil, false
	case !info.Mode().IsRegular():
		c.fatal(d, "file-not-regular", fmt.Sprintf("%s %s is not a regular file", d.Key, path), "put a file there or correct the path")
		return nil, false
	}
	if obstacle := c.obstacle(path); obstacle != "" {
		c.fatal(d, "file-unreadable",
			fmt.Sprintf("user %d of the broker cannot read %s %s: %s", c.env.UID, d.Key, path, obstacle),
			"give the file to the broker's user or group, with mode 0640 or 0600")
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

// guarded checks a file that the broker opens with care.
func (c *checker) guarded(d Directive) {
	path := c.path(d)
	link, err := os.Lstat(path)
	if err == nil && link.Mode()&fs.ModeSymlink != 0 {
		message := fmt.Sprintf("%s %s is a symbolic link, which 2.1 and later refuse", d.Key, path)
		remedy := "name the file itself"
		if c.atLeast(2, 1, 0) {
			c.fatal(d, "symlink", message, remedy)
		} else {
			c.warn(d, "symlink", message, remedy)
		}
	}
	data, ok := c.read(d)
	if !ok {
		return
	}
	if d.Key == "acl_file" && !hasRule(data) {
		c.warn(d, "acl-empty", fmt.Sprintf("%s %s holds no rule: nobody may do anything", d.Key, path), "add rules")
	}
	info, err := os.Stat(path)
	if err != nil || !c.atLeast(2, 0, 16) {
		return
	}
	if info.Mode()&0o007 != 0 {
		c.warn(d, "world-readable",
			fmt.Sprintf("%s %s has mode %#o; future versions will refuse it", d.Key, path, info.Mode().Perm()), "chmod o= "+path)
	}
	if uid, gid, ok := ownerOf(info); ok && c.env.UID != 0 && (uid != c.env.UID || gid != c.env.GID) {
		c.warn(d, "owner",
			fmt.Sprintf("%s %s belongs to %d:%d, not to the broker's %d:%d; future versions will refuse it",
				d.Key, path, uid, gid, c.env.UID, c.env.GID),
			fmt.Sprintf("chown %d:%d %s", c.env.UID, c.env.GID, path))
	}
}

func hasRule(acl []byte) bool {
	for line := range strings.Lines(string(acl)) {
		if line[0] != '#' && strings.Trim(line, blanks) != "" {
			return true
		}
	}
	return false
}
