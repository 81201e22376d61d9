// Package loopback tells requests for this machine from those that only ended
// up on it. A web page can have its own name lead to 127.0.0.1 (DNS rebinding);
// to a browser the page and a service there are one origin then, and only the
// header Host shows the difference.
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Is reports whether host, with or without a port, is localhost or a loopback
// address. So is an empty one: HTTP/1.0 may leave the header Host out, and
// browsers never do.
func Is(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return host == "" || strings.EqualFold(name, "localhost") || err == nil && ip.IsLoopback()
}
