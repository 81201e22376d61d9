package localca_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

const (
	// signClients is how many devices enrol at a time.
	signClients = 16
	// signBatch is how many certificates are made before it is the other's
	// turn, so that other work on the machine slows both.
	signBatch = 256
)

// Signing for 16 clients over HTTP, each certificate on disk before it is
// answered, against the bare x509.CreateCertificate with the same CA key, from
// as many goroutines. The clients share the machine's processors with the
// server, so they do as little as clients can. Metric "%bare" is to be 90 or
// more for the default key, RSA with 4096 bits; "%bare-cpu" compares the
// processors' time, which says more on a machine that is busy otherwise. What
// is missing to 100 is the same half millisecond or so with each key: checking
// the request, HTTP on both sides, an eighth of a commit.
func BenchmarkSigningAgainstCreateCertificate(b *testing.B) {
	for _, bc := range []struct {
		name  string
		bits  int
		ecdsa bool // the devices' keys, otherwise RSA with 2048 bits
	}{
		{"RSA-4096", 4096, false},
		{"RSA-2048", 2048, false},
		{"P-256", 256, false},
		{"P-256/P-256", 256, true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			ca, err := localca.Open(b.TempDir(), localca.Options{KeySize: bc.bits, ECDSA: bc.ecdsa})
			if err != nil {
				b.Fatal(err)
			}
			defer ca.Close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- ca.Serve(ctx, l) }()
			defer func() { stop(); <-ended }()

			devices := newDevices(b, bc.ecdsa)
			var bare, served cost
			turnBare := func() {
				bare.add(b, func() {
					inParallel(b, func(i int, _ *rawClient) error { return signBare(b, ca, devices[i].key) }, nil)
				})
			}
			turnServed := func() {
				inParallel(b, func(i int, _ *rawClient) error { return devices[i].register(ca) }, nil)
				served.add(b, func() {
					inParallel(b, func(i int, c *rawClient) error { return c.post(devices[i].sign) }, l.Addr())
				})
			}
			for b.Loop() {
				// In this order neither gains when the machine's pace drifts.
				turnBare()
				turnServed()
				turnServed()
				turnBare()
			}
			made := float64(2 * b.N * signBatch)
			b.ReportMetric(made/bare.wall.Seconds(), "bare/s")
			b.ReportMetric(made/served.wall.Seconds(), "served/s")
			b.ReportMetric(100*bare.wall.Seconds()/served.wall.Seconds(), "%bare")
			b.ReportMetric(100*bare.cpu.Seconds()/served.cpu.Seconds(), "%bare-cpu")
		})
	}
}

// cost is what calls took.
type cost struct{ wall, cpu time.Duration }

func (c *cost) add(b *testing.B, f func()) {
	start, cpu := time.Now(), cpuTime(b)
	f()
	c.wall += time.Since(start)
	c.cpu += cpuTime(b) - cpu
}

// cpuTime is what this process used, of all processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// inParallel does a batch from as many goroutines as there are clients. If
// address isn't nil, each has a connection to it.
func inParallel(b *testing.B, f func(i int, c *rawClient) error, address net.Addr) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range signClients {
		wg.Go(func() {
			var c *rawClient
			if address != nil {
				conn, err := net.Dial("tcp", address.String())
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				c = &rawClient{conn, bufio.NewReader(conn)}
			}
			for i := int(next.Add(1)) - 1; i < signBatch; i = int(next.Add(1)) - 1 {
				if err := f(i, c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// rawClient sends requests that are ready in one piece, and reads no more of
// the answer than that all is well and where it ends.
type rawClient struct {
	conn net.Conn
	in   *bufio.Reader
}

func (c *rawClient) post(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return nil
}

// device is somebody who enrols, again and again with the same key.
type device struct {
	name string
	key  any    // public
	sign []byte // the request over HTTP
}

// register makes the device NEW.
func (d device) register(ca *localca.CA) error {
	r := httptest.NewRequest("POST", "/user", strings.NewReader(asJSON(map[string]string{"username": d.name, "password": "secret"})))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if ca.ServeHTTP(w, r); w.Code != http.StatusOK {
		return fmt.Errorf("registering %s: %s", d.name, w.Body)
	}
	return nil
}

func newDevices(b *testing.B, useECDSA bool) []device {
	b.Helper()
	rsaKey := rsaKeys(b)
	devices := make([]device, signBatch)
	for i := range devices {
		d := device{name: fmt.Sprintf("admin:%x", i)}
		var csr []byte
		if useECDSA {
			var key *ecdsa.PrivateKey
			key, csr = newECDSAKey(b, "P-256"), nil
			d.key = key.Public()
			var err error
			if csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"mqtt"}}, key); err != nil {
				b.Fatal(err)
			}
		} else {
			key := rsaKey()
			d.key = key.Public()
			csr = newRequest(b, key, &x509.CertificateRequest{DNSNames: []string{"mqtt"}})
		}
		body := signBody("secret", csr)
		d.sign = fmt.Appendf(nil, "POST /sign/%s/pkcs10 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", d.name, len(body), body)
		devices[i] = d
	}
	return devices
}

// rsaKeys returns a source of different RSA keys of 2048 bits. Each pair of a
// few primes makes one: finding primes is most of the time that keys take.
func rsaKeys(b *testing.B) (next func() *rsa.PrivateKey) {
	var primes []*big.Int
	i, j := 0, 0
	return func() *rsa.PrivateKey {
		if i == j {
			i, j = 0, j+1
		}
		for len(primes) <= j {
			p, err := rand.Prime(rand.Reader, 1024)
			if err != nil {
				b.Fatal(err)
			}
			primes = append(primes, p)
		}
		key, err := keyOf(primes[i], primes[j])
		if err != nil {
			b.Fatal(err)
		}
		i++
		return key
	}
}

func keyOf(p, q *big.Int) (*rsa.PrivateKey, error) {
	one := big.NewInt(1)
	totient := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q}}
	key.D = new(big.Int).ModInverse(big.NewInt(int64(key.E)), totient)
	key.Precompute()
	return key, key.Validate()
}

func signBare(b *testing.B, ca *localca.CA, key any) error {
	signer, root := localca.Root(b, ca)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "admin:5c6512"},
		NotBefore:    time.Now(),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"mqtt"},
	}
	_, err := x509.CreateCertificate(rand.Reader, template, root, key, signer)
	return err
}
