package mosquittoconf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// CheckFiles looks at the files that the configuration names as a broker in
// env would, and returns what is wrong, in the order of the directives. It
// changes nothing and does not connect to anything.
//
// Of any file: "file-missing", "file-not-regular", "file-unreadable" for the
// broker's user, "not-checked" if this process may not read it or does not
// understand it. The path is taken for what it says: POSIX ACLs and other
// processes' mounts are not seen.
//
// Of a TLS listener: "cafile-invalid", "ca-none", "ca-expired",
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
	c := checker{findings: newFindings(f), env: env, version: newest}
	if v, err := ParseVersion(env.Version); err == nil {
		c.version = v
	}
	if c.env.Now.IsZero() {
		c.env.Now = time.Now()
	}
	for _, l := range f.Listeners() {
		c.listener(&l)
	}
	for _, d := range f.statements {
		switch d.Key {
		case "acl_file", "password_file", "psk_file":
			c.guarded(d)
		case "include_dir":
			if _, loaded := d.file.included[d.line]; loaded {
				continue
			}
			if info, err := os.Stat(c.path(d)); err != nil || !info.IsDir() {
				c.refused(d, "file-missing", fmt.Sprintf("include_dir %s is no folder", c.path(d)), "make it, or remove the line")
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
}

func (c *checker) path(d statement) string {
	if filepath.IsAbs(d.Value) {
		return d.Value
	}
	return filepath.Join(c.env.Dir, d.Value)
}

// maxFile is far above a list of a million revoked certificates, 47 MB.
const maxFile = 1 << 28

// read returns the content of the file that d names, or reports why not.
func (c *checker) read(d statement) ([]byte, bool) {
	path := c.path(d)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.refused(d, "file-missing", fmt.Sprintf("%s %s does not exist", d.Key, path), "put the file there or correct the path")
		return nil, false
	case err != nil:
		c.warn(d, "not-checked", fmt.Sprintf("%s: %v", d.Key, err), "check as a user who may read it")
		return nil, false
	case !info.Mode().IsRegular():
		c.refused(d, "file-not-regular", fmt.Sprintf("%s %s is not a regular file", d.Key, path), "put a file there or correct the path")
		return nil, false
	}
	if obstacle := c.obstacle(path); obstacle != "" {
		c.refused(d, "file-unreadable",
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
func (c *checker) guarded(d statement) {
	path := c.path(d)
	link, err := os.Lstat(path)
	if err == nil && link.Mode()&fs.ModeSymlink != 0 {
		message := fmt.Sprintf("%s %s is a symbolic link, which 2.1 and later refuse", d.Key, path)
		remedy := "name the file itself"
		if c.version.atLeast(2, 1, 0) {
			c.refused(d, "symlink", message, remedy)
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
	if err != nil || !c.version.atLeast(2, 0, 16) {
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
