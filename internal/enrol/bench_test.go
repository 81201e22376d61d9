package enrol_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

// The benchmarks enrol devices beside the one thing that cannot be spared, on
// all processors, with nothing else to do: the baseline. They take turns, so
// that both see the same machine.
//
//   - "%keygen" and "%sign" are the rate of devices, as a share of the
//     baseline's.
//   - "%cpu" is the processor time that the baseline takes, as a share of all
//     that a device takes, the CA's work included: what the rate could be if
//     nothing ever waited.
//
// A turn ends with processors that have nothing left to do, so this means
// something from some hundred devices on: -benchtime 1000x. And ext4 without a
// journal passes over the inodes of files that were removed in the last
// minutes, one by one, which makes new ones dear: have TMPDIR where no tests
// have just run.

// perTurn is how many devices are enrolled before the baseline has its turn.
const perTurn = 100

type effort struct{ wall, cpu time.Duration }

// measure adds what f takes.
func (e *effort) measure(f func()) {
	began, used := time.Now(), processorTime()
	f()
	e.wall += time.Since(began)
	e.cpu += processorTime() - used
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// compare enrols b.N devices and does the baseline as often.
func compare(b *testing.B, unit string, renewer func(device string) *provision.Renewer, baseline func()) {
	b.Helper()
	luck := sameLuck(b)
	var enrolled, bare effort
	for turn := range (b.N + perTurn - 1) / perTurn {
		run := &enrol.Run{Renewer: renewer}
		for i := turn * perTurn; i < min((turn+1)*perTurn, b.N); i++ {
			run.Devices = append(run.Devices, fmt.Sprintf("dev%06d", i))
		}
		both := []func(){
			func() {
				defer enrol.Oversubscribe()() // as the retriever does
				enrolled.measure(func() {
					if err := run.Do(b.Context()).Err(); err != nil {
						b.Fatal(err)
					}
				})
			},
			func() { bare.measure(func() { onAll(len(run.Devices), baseline) }) },
		}
		if turn%2 == 1 {
			slices.Reverse(both) // a machine that slows down does so for both
		}

		for _, f := range both {
			luck.seed(turn)
			f()
		}
	}
	b.ReportMetric(float64(b.N)/enrolled.wall.Seconds(), "devices/s")
	b.ReportMetric(100*bare.wall.Seconds()/enrolled.wall.Seconds(), unit)
	b.ReportMetric(100*bare.cpu.Seconds()/enrolled.cpu.Seconds(), "%cpu")
	b.ReportMetric(0, "ns/op") // which would be of both
}

// candidates is a source of random bytes that gives the same numbers to try for
// primes after each seeding, whichever goroutine asks for them: some keys take
// ten times as long to find as others, but here all keys of a turn take as
// long as all keys of the baseline's.
type candidates struct {
	rest io.Reader // of random bytes that are for something else

	mu   sync.Mutex
	next *mathrand.ChaCha8
}

func (c *candidates) seed(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = mathrand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
}

func (c *candidates) Read(p []byte) (int, error) {
	const prime = provision.DefaultKeyBits / 2 / 8
	if len(p) != prime {
		return c.rest.Read(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next.Read(p)
}

// sameLuck has all RSA keys made from candidates. A Go that doesn't know the
// setting any more makes them by chance, and the results scatter.
func sameLuck(b *testing.B) *candidates {
	b.Helper()
	b.Setenv("GODEBUG", "cryptocustomrand=1")
	luck := &candidates{rest: rand.Reader}
	b.Cleanup(func() { rand.Reader = luck.rest })
	rand.Reader = luck
	return luck
}

// onAll calls f n times, on all processors, and as often at once as a Run
// would: at the end of a turn no processor has nothing left to do for long.
func onAll(n int, f func()) {
	var work errgroup.Group
	work.SetLimit(4 * runtime.GOMAXPROCS(0))
	for range n {
		work.Go(func() error { f(); return nil })
	}
	work.Wait()
}

var caKeyBits = []int{2048, 4096}

// BenchmarkRSA enrols at a CA in this process, over HTTP, whose signatures
// take processor time that the keys then lack: with a key of 4096 bits, as
// dojot's CAs have it, five times as much as with one of 2048.
func BenchmarkRSA(b *testing.B) {
	for _, bits := range caKeyBits {
		b.Run(fmt.Sprintf("ca=RSA-%d", bits), func(b *testing.B) {
			issuer := serveCA(b, localca.Options{KeySize: bits})
			compare(b, "%keygen", renewers(b, issuer, provision.RSA), func() {
				if _, err := rsa.GenerateKey(rand.Reader, provision.DefaultKeyBits); err != nil {
					panic(err)
				}
			})
		})
	}
}

// BenchmarkP256 makes keys that cost next to nothing: the time goes into the
// CA's signatures, and into files.
func BenchmarkP256(b *testing.B) {
	for _, bits := range caKeyBits {
		b.Run(fmt.Sprintf("ca=RSA-%d", bits), func(b *testing.B) {
			issuer := serveCA(b, localca.Options{KeySize: bits, ECDSA: true})
			compare(b, "%sign", renewers(b, issuer, provision.P256), bareSign(b, bits))
		})
	}
}

// renewers has devices enrolled as programs do it: a new user of the CA for
// each, all files in one folder.
func renewers(b *testing.B, issuer func(device string) *ejbca.Issuer, keyType provision.KeyType) func(device string) *provision.Renewer {
	dir := b.TempDir()
	shared := &enrol.Shared{CA: issuer("")}
	return func(device string) *provision.Renewer {
		return &provision.Renewer{
			Identity: &provision.Identity{CommonName: device, KeyType: keyType, Files: provision.DeviceFiles(dir, device, ejbca.DefaultCA)},
			CA:       shared.For(issuer(device)),
		}
	}
}

// bareSign makes a certificate with a CA's key of so many bits.
func bareSign(b *testing.B, bits int) func() {
	b.Helper()
	caKey, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		b.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: ejbca.DefaultCA}, PublicKey: &caKey.PublicKey}
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "dev000000"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour)}
	return func() {
		if _, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey); err != nil {
			panic(err)
		}
	}
}

func serveCA(b *testing.B, options localca.Options) (issuer func(device string) *ejbca.Issuer) {
	b.Helper()
	ca, err := localca.Open(b.TempDir(), options)
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(ca)
	b.Cleanup(func() {
		server.Close()
		if err := ca.Close(); err != nil {
			b.Error(err)
		}
	})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	web := &http.Client{Transport: transport}
	return func(device string) *ejbca.Issuer {
		return &ejbca.Issuer{Client: &ejbca.Client{BaseURL: server.URL, HTTPClient: web}, User: device, Register: true}
	}
}
