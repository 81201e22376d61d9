package mosquittoconf

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Version is that of a broker. It counts to the patch level: 2.0.11 and 2.0.21
// load different files. The zero Version is before all others.
type Version struct{ major, minor, patch uint16 }

// ParseVersion reads a version as "mosquitto -h" prints it: "2.0.11". A
// missing patch level is 0, and a suffix as in "2.1.0-rc1" is ignored.
func ParseVersion(s string) (Version, error) {
	number, _, _ := strings.Cut(s, "-")
	parts := strings.Split(number, ".")
	var n [3]uint16
	if len(parts) != 2 && len(parts) != 3 {
		return Version{}, fmt.Errorf("broker version %.40q (want the form 2.0.11)", s)
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("broker version %.40q (want the form 2.0.11)", s)
		}
		n[i] = uint16(v)
	}
	return Version{n[0], n[1], n[2]}, nil
}

// String returns the version as ParseVersion reads it.
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch) }

// Compare is negative if v is before o, positive if it is after it.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.major, o.major), cmp.Compare(v.minor, o.minor), cmp.Compare(v.patch, o.patch))
}

func (v Version) atLeast(major, minor, patch uint16) bool {
	return v.Compare(Version{major, minor, patch}) >= 0
}

// newest stands for a version that is not known.
var newest = Version{math.MaxUint16, 0, 0}
