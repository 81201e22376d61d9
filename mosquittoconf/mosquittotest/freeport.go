package mosquittotest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// Ports are given from this range. To whoever listens on port 0 or connects,
// Linux gives those from 32768 on if it was not told otherwise, macOS those
// from 49152 on; below 10000 are most of those that services are known by.
const firstPort, lastPort = 10000, 32767

var (
	givePorts  = sync.OnceValue(func() []int { return stablePorts(localPortRange()) })
	portsGiven atomic.Int64
)

// FreePort returns a TCP port of the loopback interface on which nothing
// listens, for a further listener in Options.Conf or any other server that
// must know its port beforehand. It stays free until it is used, but for
// somebody who wants that very port: the kernel gives it to nobody, as it may a
// port of a listener on port 0 that was closed. No port is given twice before
// all have been given.
//
// FreePort may be called concurrently.
func FreePort() (int, error) {
	ports := givePorts()
	for range ports {
		port := ports[int(portsGiven.Add(1))%len(ports)]
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("all ports from %d to %d are in use", firstPort, lastPort)
}

// localPortRange returns the ports that the kernel gives away, as Linux was
// told; see ip_local_port_range in ip(7).
func localPortRange() (first, last int) {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(data), &first, &last)
	}
	if err != nil {
		return lastPort + 1, 65535
	}
	return first, last
}

// stablePorts returns the ports of our range without those that the kernel
// gives away, unless it gives away all of them. They are in random order, so
// that the tests of two packages, which run at the same time, take different
// ones.
func stablePorts(firstLocal, lastLocal int) []int {
	var ports, stable []int
	for port := firstPort; port <= lastPort; port++ {
		ports = append(ports, port)
		if port < firstLocal || port > lastLocal {
			stable = append(stable, port)
		}
	}
	if len(stable) > 0 {
		ports = stable
	}
	rand.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
	return ports
}
