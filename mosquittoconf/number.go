package mosquittoconf

import (
	"math"
	"strconv"
	"strings"
)

// atoi reads a number as brokers up to 2.0 do, with C's function of that name:
// as many decimal digits as there are, 0 if there are none, and the low 32 bits
// of what is too large.
func atoi(s string) int32 {
	s = strings.TrimLeft(s, blanks)
	end := 0
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		end = 1
	}
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	if err != nil && n != math.MaxInt64 && n != math.MinInt64 {
		return 0
	}
	return int32(n)
}

// strtol reads a number as brokers from 2.1 do: in C's notation, so that 010
// is 8 and 0x10 is 16. It must be all of s and fit into 32 bits.
func strtol(s string) (int32, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || strings.Contains(s, "_") {
		return 0, false
	}
	if lower := strings.ToLower(digits); strings.HasPrefix(lower, "0b") || strings.HasPrefix(lower, "0o") {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 0, 32)
	return int32(n), err == nil
}

// isDecimal reports whether every version reads s as the same number.
func isDecimal(s string) bool {
	n, err := strconv.ParseInt(s, 10, 32)
	return err == nil && strconv.FormatInt(n, 10) == s
}
