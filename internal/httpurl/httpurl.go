// Package httpurl reads the addresses of services, and shows them without the
// secrets that may be in them.
package httpurl

import (
	"fmt"
	"net/url"
	"strings"
)

// Parse returns the URL that raw is, if that is one of http or https with a
// host. The error quotes raw as Shown shows it.
func Parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// The reason stays out: it may be that part of a password is no port.
		return nil, fmt.Errorf("%q (want http://host:port or https://…)", Shown(raw))
	}
	return u, nil
}

// Shown returns raw, which need not be a URL, without user, password, query
// and fragment. In a broken one these are where they were meant to be, and not
// where a parser finds them: all before the last @ may be a password.
func Shown(raw string) string {
	scheme, rest := "", raw
	if first, other, found := strings.Cut(raw, "://"); found && (strings.EqualFold(first, "http") || strings.EqualFold(first, "https")) {
		scheme, rest = first+"://", other
	}
	at, query := strings.LastIndexByte(rest, '@'), strings.IndexAny(rest, "?#")
	if query >= 0 && query < at {
		return scheme + "…" // a ? of the password, or an @ of the query
	}
	if query >= 0 {
		rest = rest[:query]
	}
	if at >= 0 {
		rest = "…" + rest[at:]
	}
	return scheme + rest
}
