package mosquittoconf

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// guarded checks a file that says who may do what, which the broker opens with
// care.
func (c *checker) guarded(d *statement) {
	path := c.path(d)
	link, err := os.Lstat(path)
	if err == nil && link.Mode()&fs.ModeSymlink != 0 {
		severity := Warning
		if c.version.atLeast(2, 1, 0) && !(c.env.FollowsSymlinks && c.version.atLeast(2, 1, 1)) {
			severity = Refused
		}
		c.add(severity, d, "symlink", fmt.Sprintf("%s %s is a symbolic link, which 2.1 and later refuse", d.Key, path),
			"name the file itself, or set MOSQUITTO_UNSAFE_ALLOW_SYMLINKS for the broker, from 2.1.1")
	}
	data, ok := c.read(d)
	if !ok {
		return
	}
	switch d.Key {
	case "acl_file", "plugin_opt_acl_file":
		c.rules(d, data)
	case "password_file", "plugin_opt_password_file":
		c.passwords(d, data)
	case "psk_file":
		c.keys(d, data)
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

// rules looks for the first line at which a broker stops reading an ACL file.
// What the rules mean is not judged.
func (c *checker) rules(d *statement, data []byte) {
	path := c.path(d)
	if i := bytes.IndexByte(data, 0); i >= 0 {
		c.trap(d, "acl-nul", fmt.Sprintf("%s %s has a NUL byte, and the broker does not see the rules behind it", d.Key, path), "remove it")
		data = data[:i]
	}
	topics, patterns, n := false, false, 0
	for raw := range strings.Lines(string(data)) {
		n++
		keyword, problem, from := aclLine(raw)
		switch {
		case keyword == deny && !c.version.atLeast(2, 0, 0):
			problem = "access deny, which is of 2.0"
		case problem != "" && c.version.Compare(from) < 0:
			c.trap(d, "acl-invalid", fmt.Sprintf("%s %s:%d: %s: the line has no effect", d.Key, path, n, problem), "correct the line")
			continue
		}
		if problem != "" {
			message := fmt.Sprintf("%s %s:%d: %s", d.Key, path, n, problem)
			if c.version.atLeast(2, 0, 0) && !c.version.atLeast(2, 1, 0) {
				message += "; with it, a SIGHUP lets everybody do everything"
			}
			c.refused(d, "acl-invalid", message, "correct the line")
			return
		}
		topics = topics || keyword == "topic" || keyword == deny
		patterns = patterns || keyword == "pattern"
	}
	if patterns && !topics && !c.version.atLeast(1, 5, 0) {
		c.warn(d, "acl-patterns-kept", fmt.Sprintf("%s %s has no topic line: a SIGHUP of 1.4 takes back no pattern", d.Key, path), "add a topic line, or restart the broker after a change")
	}
	if topics || patterns {
		return
	}
	if c.version.atLeast(1, 5, 6) {
		c.warn(d, "acl-empty", fmt.Sprintf("%s %s holds no rule: nobody may do anything", d.Key, path), "add rules")
	} else {
		c.trap(d, "acl-empty", fmt.Sprintf("%s %s holds no rule: up to 1.5.5 that lets everybody do everything", d.Key, path), "add rules")
	}
}

// deny stands for the keyword of a line with that access.
const deny = "deny"

// aclLine returns the keyword of a line, what is wrong with it, and the version
// from which on a broker refuses that.
func aclLine(raw string) (keyword, problem string, from Version) {
	s := strings.TrimRight(raw, blanks)
	if strings.HasPrefix(s, "#") {
		return "", "", from
	}
	s = strings.TrimLeft(s, " ")
	if s == "" {
		return "", "", from
	}
	keyword, rest, _ := strings.Cut(s, " ")
	switch keyword {
	case "user":
		if strings.Trim(rest, blanks) == "" {
			return keyword, "user without a name", from
		}
		return keyword, "", from
	case "topic", "pattern":
	default:
		return "", fmt.Sprintf("%.60q begins no rule (want topic, pattern or user)", keyword), Version{1, 5, 6}
	}
	access, topic := cutWord(rest)
	if access == "" {
		return keyword, keyword + " without a topic", from
	}
	if topic = strings.Trim(topic, blanks); topic == "" {
		topic = access
	} else if !slices.Contains([]string{"read", "write", "readwrite", deny}, access) {
		return keyword, fmt.Sprintf("access %.40q (want read, write, readwrite or deny)", access), from
	} else if access == deny {
		keyword = deny
	}
	if !isFilter(topic) || len(topic) > maxUint16 || strings.Count(topic, "/") > 200 {
		return keyword, fmt.Sprintf("%.60q is no valid topic filter", topic), Version{1, 6, 9}
	}
	return keyword, "", from
}

// passwords looks for what keeps 2.1, or 1.4, from loading a password file.
// Brokers between them leave out the entries that they do not understand, and
// every one those without a colon. The hashes of 2.0, $7$…, are not known to 1.x.
func (c *checker) passwords(d *statement, data []byte) {
	n := 0
	seen := make(map[string]bool)
	for raw := range strings.Lines(string(data)) {
		n++
		s := strings.TrimRight(raw, "\r\n")
		if s == "" || s[0] == '#' {
			continue
		}
		name, hash, found := strings.Cut(s, ":")
		var problem string
		switch {
		case !found:
			problem = "no colon behind the name"
		case strings.Trim(name, blanks) == "":
			problem = "no name"
		case seen[name] && c.version.atLeast(2, 1, 0):
			problem = "the name is there already"
		case strings.Count(hash, "$") < 3:
			problem = "no hash of a password (want " + c.hashKind() + "…)"
		case strings.HasPrefix(hash, "$7$") && !c.version.atLeast(2, 0, 0):
			problem = "the hash is one of 2.0 (want " + c.hashKind() + "…)"
		}
		seen[name] = true
		if problem == "" {
			continue
		}
		message := fmt.Sprintf("%s %s:%d: %s", d.Key, c.path(d), n, problem)
		if found && (c.version.atLeast(2, 1, 0) || !c.version.atLeast(1, 5, 0)) {
			c.refused(d, "password-invalid", message, "write the entry with mosquitto_passwd")
			return
		}
		c.warn(d, "password-invalid", message+": the entry is left out", "write the entry with mosquitto_passwd")
	}
}

// hashKind is how a hash begins that the version's mosquitto_passwd writes.
func (c *checker) hashKind() string {
	if c.version.atLeast(2, 0, 0) {
		return "$7$"
	}
	return "$6$"
}

// keys looks for what keeps a broker from loading a file of pre-shared keys.
func (c *checker) keys(d *statement, data []byte) {
	n := 0
	for raw := range strings.Lines(string(data)) {
		n++
		s := strings.TrimRight(raw, "\r\n")
		name, key, found := strings.Cut(s, ":")
		if !found || name == "" || s[0] == '#' {
			continue
		}
		key = strings.Trim(key, blanks)
		padded := key
		if len(padded)%2 == 1 {
			padded = "0" + padded
		}
		if _, err := hex.DecodeString(padded); err != nil || key == "" {
			c.refused(d, "psk-invalid", fmt.Sprintf("%s %s:%d: the key is not in hexadecimal digits", d.Key, c.path(d), n), "correct the key")
			return
		}
	}
}
