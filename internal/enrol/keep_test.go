package enrol_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

// Devices are seen to each hour or so, and sooner after a failure, or when
// there was no run.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := newSigner(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		var rounds []time.Duration
		began := time.Now()
		var log bytes.Buffer
		enrol.Keep(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(done func(enrol.Result)) (*enrol.Report, error) {
			rounds = append(rounds, time.Since(began))
			if len(rounds) == 3 {
				return nil, errors.New("somebody else is at work")
			}
			return (&enrol.Run{Devices: []string{"a", "b"}, Parallel: 1, Done: done, Renewer: func(device string) *provision.Renewer {
				renewer := localRenewer(dir, device, ca)
				renewer.Changed = func(context.Context) error {
					if device == "b" && len(rounds) < 3 {
						return errors.New("nobody to tell")
					}
					return nil
				}
				return renewer
			}}).Do(ctx), nil
		})
		if len(rounds) < 6 || len(rounds) > 7 || rounds[0] != 0 || rounds[1] != time.Minute || rounds[2] != 3*time.Minute || rounds[3] != 7*time.Minute || rounds[4]-rounds[3] < 45*time.Minute {
			t.Errorf("rounds at %v", rounds)
		}
		for words, want := range map[string]int{"certificate made": 1, "device failed": 2, "nobody to tell": 2, "not all devices": 2, "somebody else is at work": 1} {
			if got := strings.Count(log.String(), words); got != want {
				t.Errorf("%q is logged %d times, want %d", words, got, want)
			}
		}
		if t.Failed() {
			t.Log(&log)
		}
	})
}

// Certificates that do not last until the next round are seen to before, but
// with pauses: these have two minutes, one of them in the past, so a thirtieth
// is four seconds.
func TestKeepShortLived(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := newSigner(t)
		ca.life = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		rounds, began := 0, time.Now()
		checkAll := func() {
			for _, device := range []string{"a", "b", "c"} {
				leaf, err := provision.DeviceFiles(dir, device, "ca").Leaf()
				if err != nil || time.Now().After(leaf.NotAfter) {
					t.Errorf("%s has lapsed after %v (%v)", device, time.Since(began), err)
				}
			}
		}
		enrol.Keep(ctx, slog.New(slog.DiscardHandler), func(done func(enrol.Result)) (*enrol.Report, error) {
			if rounds++; rounds > 1 {
				checkAll()
			}
			since := time.Since(began)
			ca.down = 5*time.Minute < since && since < 5*time.Minute+20*time.Second
			return (&enrol.Run{Devices: []string{"a", "b", "c"}, Parallel: 1, Done: done, Renewer: func(device string) *provision.Renewer {
				return localRenewer(dir, device, ca)
			}}).Do(ctx), nil
		})
		checkAll()
		if rounds > 10*60/4+1 {
			t.Errorf("%d rounds", rounds)
		}
	})
}

// What became of a device is logged when it is known, even if the round is cut.
func TestKeepLogsEachDevice(t *testing.T) {
	ca, dir := newSigner(t), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	enrol.Keep(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(done func(enrol.Result)) (*enrol.Report, error) {
		run := &enrol.Run{Devices: []string{"a", "b"}, Parallel: 1, Renewer: func(device string) *provision.Renewer {
			return localRenewer(dir, device, ca)
		}}
		run.Done = func(r enrol.Result) { done(r); cancel() }
		return run.Do(ctx), nil
	})
	if got := strings.Count(log.String(), "certificate made"); got != 1 {
		t.Errorf("logged\n%s", &log)
	}
}

// localRenewer keeps a device's identity at a CA that needs no network.
func localRenewer(dir, device string, ca provision.CA) *provision.Renewer {
	files := provision.DeviceFiles(dir, device, "ca")
	files.CRL = ""
	return &provision.Renewer{
		Identity: &provision.Identity{CommonName: device, KeyType: provision.P256, Files: files},
		CA:       ca,
	}
}

// signer is a CA without a network, whose waits are no concern of the clock.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	life time.Duration // of certificates
	down bool
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
	cert, err := certify(template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{cert: cert, key: key, life: 365 * 24 * time.Hour}
}

func (s *signer) Chain(context.Context) ([]*x509.Certificate, error) {
	return []*x509.Certificate{s.cert}, nil
}

func (s *signer) Sign(_ context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	if s.down {
		return nil, errors.New("it is down")
	}
	cert, err := certify(&x509.Certificate{Subject: csr.Subject,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(s.life)}, s.cert, csr.PublicKey, s.key)
	return []*x509.Certificate{cert}, err
}

func certify(template, parent *x509.Certificate, key, signer any) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
