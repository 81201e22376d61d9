package acl

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a version of the Mosquitto broker. The zero Version is 2.0.
// Versions can be compared with ==.
type Version struct{ major, minor, patch uint16 }

// ParseVersion reads a broker's version as `mosquitto -h` prints it, such as
// "2.0.11"; the patch level may be left out. Lines other than 2.0 and 2.1 are
// an error: their files mean other things.
func ParseVersion(s string) (Version, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 2 && len(parts) != 3 {
		return Version{}, fmt.Errorf("invalid broker version %s (want the form 2.0.11)", quote(s))
	}
	var n [3]uint16
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("invalid broker version %s (want the form 2.0.11)", quote(s))
		}
		n[i] = uint16(v)
	}
	v := Version{n[0], n[1], n[2]}
	if v.major != 2 || v.minor > 1 {
		return Version{}, fmt.Errorf("unsupported broker version %s (want 2.0 or 2.1)", quote(s))
	}
	return v, nil
}

// String returns the version as ParseVersion reads it.
func (v Version) String() string {
	if v == (Version{}) {
		return "2.0.0"
	}
	return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
}

// wholeLevels tells whether %c and %u count only where they fill a level of a
// pattern, as they do from 2.1.0.
func (v Version) wholeLevels() bool { return v.major == 2 && v.minor >= 1 }
