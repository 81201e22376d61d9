package acl

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is a version of the Mosquitto broker. The zero Version is the last
// of the 2.0 line. Versions can be compared with ==.
type Version struct{ major, minor, patch uint16 }

// last is the patch level of a Version of which only the line is known.
const last = 1<<16 - 1

// oldest is the first version that this package knows: those before have
// holes in their access control that nobody should work around.
var oldest = Version{1, 4, 13}

// ParseVersion reads a broker's version: "2.0.11", or the line in which
// `mosquitto -h` and the topic $SYS/broker/version say it, "mosquitto version
// 2.0.11". Where the patch level is left out, the last of the line is meant.
// Versions before 1.4.13 and after the 2.1 line are an error: their files
// mean other things.
func ParseVersion(s string) (Version, error) {
	text, _, _ := strings.Cut(s, "\n")
	text = strings.TrimPrefix(text, "mosquitto version ")
	text, _, _ = strings.Cut(text, " (build date ")
	parts := strings.Split(text, ".")
	n := [3]uint16{2: last}
	ok := len(parts) == 2 || len(parts) == 3
	for i := 0; ok && i < len(parts); i++ {
		p, err := strconv.ParseUint(parts[i], 10, 16)
		n[i], ok = uint16(p), err == nil && p < last
	}
	if !ok {
		return Version{}, fmt.Errorf("invalid broker version %s (want the form 2.0.11)", quote(s))
	}
	v := Version{n[0], n[1], n[2]}
	switch {
	case v.compare(oldest) < 0, v.major == 1 && v.minor > 6, v.major == 2 && v.minor > 1, v.major > 2:
		return Version{}, fmt.Errorf("unsupported broker version %s (want one from 1.4.13 on of the lines 1.4, 1.5, 1.6, 2.0 and 2.1)", quote(s))
	}
	return v, nil
}

// String returns the version as ParseVersion reads it.
func (v Version) String() string {
	if v == (Version{}) {
		return "2.0"
	}
	if v.patch == last {
		return fmt.Sprintf("%d.%d", v.major, v.minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
}

func (v Version) compare(w Version) int {
	return cmp.Or(cmp.Compare(v.major, w.major), cmp.Compare(v.minor, w.minor), cmp.Compare(v.patch, w.patch))
}

func (v Version) since(major, minor, patch uint16) bool {
	if v == (Version{}) {
		v = Version{2, 0, last}
	}
	return v.compare(Version{major, minor, patch}) >= 0
}

// wholeLevels tells whether %c and %u count only where they fill a level of a
// pattern, and names match only one level of a topic.
func (v Version) wholeLevels() bool { return v.since(2, 1, 0) }

// guardsDollar tells whether publishing to $SYS and $share is refused before
// the file is asked.
func (v Version) guardsDollar() bool { return v.since(1, 6, 0) }

// plusHash tells whether "a/+/#" matches "a/b".
func (v Version) plusHash() bool { return v.since(1, 6, 0) }

// emptyDenies tells whether a file without rules denies everything. Before,
// it was as good as none (CVE-2018-12550).
func (v Version) emptyDenies() bool { return v.since(1, 5, 6) }

// dialect is how brokers read lines. The zero dialect is that of 2.0 and 2.1.
type dialect struct {
	skipsUnknown bool // before 1.5.6: lines with an unknown keyword are ignored
	raw          bool // before 1.6.9: lines are cut at 1023 bytes, keep their blanks, and filters aren't checked
	noDeny       bool // before 2.0.0
}

func (v Version) dialect() dialect {
	return dialect{
		skipsUnknown: !v.since(1, 5, 6),
		raw:          !v.since(1, 6, 9),
		noDeny:       !v.since(2, 0, 0),
	}
}
