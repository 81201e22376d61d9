package crl_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func openFile(t testing.TB, path string, now time.Time, cas ...*testCA) *crl.File {
	t.Helper()
	o := crl.FileOptions{Now: at(now)}
	for _, ca := range cas {
		o.CAs = append(o.CAs, ca.cert)
	}
	f, err := crl.OpenFile(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOpenFileRefuses(t *testing.T) {
	notCA := *midCA().cert
	notCA.IsCA = false
	for _, tc := range []struct {
		name string
		cas  []*x509.Certificate
	}{
		{"no CA", nil},
		{"not a CA", []*x509.Certificate{mqttCA().cert, &notCA}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := crl.OpenFile("ca.crl", crl.FileOptions{CAs: tc.cas}); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestInstall(t *testing.T) {
	mid, mqtt, rebuilt := midCA(), mqttCA(), rebuiltCA()
	now := t0.Add(36 * time.Hour)
	later := now.Add(-time.Hour)
	var (
		expired  = mid.list(t, 5, t0, 1, 2) // 12 hours ago
		mid6     = mid.list(t, 6, later, 1, 2)
		mid7     = mid.list(t, 7, later, 1)
		mqtt1    = mqtt.list(t, 1, later)
		rebuilt9 = rebuilt.list(t, 9, later)
		delta8   = parse(t, mid.forge(later, func(l *tbsCertList) {
			l.Extensions[1].Value = []byte{2, 1, 8}
			l.Extensions = append(l.Extensions, ext(oidDelta, true, "\x02\x01\x05"))
		}))
		midSigned = parse(t, append([]byte(nil), mid6.Raw...))

		// Of a clock that was a year ahead.
		ahead       = now.AddDate(1, 0, 0)
		ahead5      = mid.list(t, 5, ahead, 1, 2)
		ahead6      = mid.list(t, 6, ahead, 1, 2)
		ahead7      = mid.list(t, 7, ahead, 1, 2)
		noNumber    = parse(t, mid.forge(later, func(l *tbsCertList) { l.Extensions = l.Extensions[:1] }))
		aheadNumber = parse(t, mid.forge(ahead, func(l *tbsCertList) { l.Extensions = l.Extensions[:1] }))
	)
	type lists = []*x509.RevocationList
	encode := func(l ...*x509.RevocationList) []byte { return crl.EncodePEM(l...) }
	broken := replace(encode(mid6), "\nMI", "\nM!")
	for _, tc := range []struct {
		name    string
		before  []byte // nil: no file
		install lists
		want    lists // nil: the file is not touched
		err     error
	}{
		{"first", nil, lists{mid6}, lists{mid6}, nil},
		{"both, in the order of the CAs", nil, lists{mqtt1, mid6}, lists{mid6, mqtt1}, nil},
		{"none", encode(expired), nil, nil, nil},
		{"newer", encode(mid6), lists{mid7}, lists{mid7}, nil},
		{"newer than an expired one", encode(expired), lists{mid6}, lists{mid6}, nil},
		{"the same", encode(mid6), lists{midSigned}, nil, nil},
		{"the same, beside text", concat([]byte("ours\n"), encode(mid6)), lists{mid6}, nil, nil},
		{"the other CA's stays", encode(mqtt1, mid6), lists{mid7}, lists{mid7, mqtt1}, nil},
		{"the other CA's joins", encode(mid6), lists{mqtt1}, lists{mid6, mqtt1}, nil},
		{"two of one CA", nil, lists{mid6, mid7}, lists{mid7}, nil},

		{"older", encode(mid7), lists{mid6}, nil, crl.ErrRollback},
		{"older than the newer of two", encode(mid7, expired), lists{mid6}, nil, crl.ErrRollback},
		{"one older, so none", encode(mid7), lists{mqtt1, mid6}, nil, crl.ErrRollback},
		{"expired", nil, lists{expired}, nil, crl.ErrExpired},
		{"expired, though newer", encode(mid.list(t, 1, t0.Add(-48*time.Hour))), lists{expired}, nil, crl.ErrExpired},
		{"expired, though there", encode(expired), lists{expired}, nil, crl.ErrExpired},
		{"from the future", nil, lists{mid.list(t, 8, now.Add(time.Minute))}, nil, crl.ErrNotYetValid},
		{"newer by number than one from the future", encode(ahead5), lists{mid6}, lists{mid6}, nil},
		{"newer than two from the future", encode(ahead6, ahead5), lists{mid7}, lists{mid7}, nil},
		{"older than one from the future", encode(ahead7), lists{mid6}, nil, crl.ErrRollback},
		{"of the same number as one from the future", encode(ahead6), lists{mid6}, nil, crl.ErrRollback},
		{"older than what followed one from the future", encode(ahead5, mid7), lists{mid6}, nil, crl.ErrRollback},
		{"older than what stands before one from the future", encode(mid7, ahead5), lists{mid6}, nil, crl.ErrRollback},
		{"without a number after one from the future", encode(ahead5), lists{noNumber}, nil, crl.ErrRollback},
		{"after one from the future without a number", encode(aheadNumber), lists{mid6}, nil, crl.ErrRollback},
		{"delta", encode(mid6), lists{delta8}, nil, crl.ErrDelta},
		{"of a CA that is not ours", nil, lists{newCA("COAP").list(t, 1, later)}, nil, crl.ErrIssuer},
		{"of our name, with another key", encode(mid6), lists{rebuilt9}, nil, crl.ErrSignature},

		{"rebuilt CA's number counts for nothing", encode(rebuilt9, mqtt1), lists{mid6}, lists{mid6, mqtt1}, nil},
		{"rebuilt CA's list goes though nothing new comes", encode(mid6, rebuilt9), lists{mid6}, lists{mid6}, nil},
		{"delta goes and counts for nothing", encode(delta8), lists{mid7}, lists{mid7}, nil},
		{"doubles go", encode(expired, mid6), lists{mid6}, lists{mid6}, nil},

		{"empty file", []byte{}, lists{mid6}, lists{mid6}, nil},
		{"text only", []byte("hello\n"), lists{mid6}, lists{mid6}, nil},
		{"broken file", broken, lists{mid6}, lists{mid6}, nil},
		{"broken file, other CA's saved", concat(broken, encode(mqtt1)), lists{mid6}, lists{mid6, mqtt1}, nil},
		{"broken file, same list saved", concat(encode(mid6), broken), lists{mid6}, lists{mid6}, nil},
		{"broken file still counts for rollback", concat(broken, encode(mid7)), lists{mid6}, nil, crl.ErrRollback},
		{"DER", mid6.Raw, lists{mid6}, lists{mid6}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ca.crl")
			if tc.before != nil {
				write(t, path, tc.before)
			}
			f := openFile(t, path, now, mid, mqtt)
			changed, err := f.Install(tc.install...)
			if !errors.Is(err, tc.err) || changed != (tc.want != nil) {
				t.Errorf("got %v, %v, want %v, %v", changed, err, tc.want != nil, tc.err)
			}
			want := tc.before
			if tc.want != nil {
				want = encode(tc.want...)
			}
			got, err := os.ReadFile(path)
			if err != nil && !(want == nil && errors.Is(err, fs.ErrNotExist)) {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("file is\n%s\nwant\n%s", got, want)
			}
			if tc.want == nil {
				return
			}
			if lists, err := f.Lists(); err != nil || !bytes.Equal(encode(lists...), want) {
				t.Errorf("Lists: %d lists, %v, want %d", len(lists), err, len(tc.want))
			}
			if changed, err := f.Install(tc.want...); changed || err != nil {
				t.Errorf("again: got %v, %v, want no change", changed, err)
			}
		})
	}
}

// A CA that renews its certificate keeps name and key, and its list remains
// one list.
func TestInstallRenewedCA(t *testing.T) {
	renewed := certify("IOTmidCA", midCA().key, 2)
	path := filepath.Join(t.TempDir(), "ca.crl")
	f := openFile(t, path, t0, midCA(), renewed)
	for _, list := range []*x509.RevocationList{midCA().list(t, 1, t0), renewed.list(t, 2, t0)} {
		if changed, err := f.Install(list); !changed || err != nil {
			t.Fatalf("got %v, %v", changed, err)
		}
		if err := f.Check(t0); err != nil {
			t.Error(err)
		}
	}
	if lists, err := f.Lists(); err != nil || len(lists) != 1 {
		t.Errorf("got %d lists, %v, want 1", len(lists), err)
	}
}

// Two CAs of one name are told apart by their keys.
func TestInstallNamesakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.crl")
	f := openFile(t, path, t0, midCA(), rebuiltCA())
	if _, err := f.Install(rebuiltCA().list(t, 1, t0)); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(t0); !errors.Is(err, crl.ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
	if _, err := f.Install(midCA().list(t, 1, t0)); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(t0); err != nil {
		t.Error(err)
	}
}

func TestInstallKeepsAttributes(t *testing.T) {
	stat := func(t *testing.T, path string) fs.FileMode {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	uid, gid := os.Getuid(), os.Getgid()
	for _, tc := range []struct {
		name   string
		before fs.FileMode // 0: no file
		o      crl.FileOptions
		want   fs.FileMode
	}{
		{"new", 0, crl.FileOptions{}, 0o644},
		{"new, as asked", 0, crl.FileOptions{Mode: 0o640, Owner: &crl.Owner{UID: uid, GID: gid}}, 0o640},
		{"existing", 0o664, crl.FileOptions{Mode: 0o640}, 0o664},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ca.crl")
			if tc.before != 0 {
				write(t, path, nil)
				if err := os.Chmod(path, tc.before); err != nil {
					t.Fatal(err)
				}
			}
			tc.o.CAs, tc.o.Now = []*x509.Certificate{midCA().cert}, at(t0)
			f, err := crl.OpenFile(path, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Install(midCA().list(t, 1, t0)); err != nil {
				t.Fatal(err)
			}
			if got := stat(t, path); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestInstallCannotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	f := openFile(t, filepath.Join(dir, "ca.crl"), t0, midCA())
	list := midCA().list(t, 1, t0)
	if changed, err := f.Install(list); changed || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, %v, want fs.ErrNotExist", changed, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if changed, err := f.Install(list); !changed || err != nil {
		t.Errorf("got %v, %v", changed, err)
	}
}

// What may have taken effect without being durable is written again, so that
// the broker is told of it.
func TestInstallUnsure(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root opens every folder")
	}
	dir := t.TempDir()
	f := openFile(t, filepath.Join(dir, "ca.crl"), t0, midCA())
	if _, err := f.Install(midCA().list(t, 1, t0)); err != nil {
		t.Fatal(err)
	}
	// The folder can be written and not be opened to fsync it.
	if err := os.Chmod(dir, 0o300); err != nil {
		t.Fatal(err)
	}
	list := midCA().list(t, 2, t0)
	changed, err := f.Install(list)
	if changed || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, %v, want fs.ErrPermission", changed, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if changed, err := f.Install(list); changed != want || err != nil {
			t.Errorf("got %v, %v, want %v", changed, err, want)
		}
	}
}

func TestInstallRemovesLeftovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.crl")
	write(t, path+".durable-1", []byte("half a li"))
	if _, err := openFile(t, path, t0, midCA()).Install(midCA().list(t, 1, t0)); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want the crlfile alone", entries, err)
	}
}

func TestInstallConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.crl")
	f := openFile(t, path, t0, midCA(), mqttCA())
	const n = 10
	var wg sync.WaitGroup
	for i := range int64(n) {
		for _, ca := range []*testCA{midCA(), mqttCA()} {
			list := ca.list(t, i+1, t0)
			wg.Go(func() {
				if _, err := f.Install(list); err != nil && !errors.Is(err, crl.ErrRollback) {
					t.Error(err)
				}
				if err := f.Check(t0); errors.Is(err, crl.ErrUnloadable) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	lists, err := f.Lists()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lists {
		if l.Number.Int64() != n {
			t.Errorf("%v: number %v, want %d", l.Issuer, l.Number, n)
		}
	}
}

func TestCheck(t *testing.T) {
	mid, mqtt := midCA(), mqttCA()
	now := t0.Add(25 * time.Hour)
	good, goodMQTT, expired := mid.list(t, 2, now), mqtt.list(t, 1, now), mid.list(t, 1, t0)
	for _, tc := range []struct {
		name string
		data []byte // nil: no file
		want error
	}{
		{"good", crl.EncodePEM(good, goodMQTT), nil},
		{"good beside an expired one", crl.EncodePEM(good, expired, goodMQTT), nil},
		{"missing file", nil, errors.Join(crl.ErrUnloadable, fs.ErrNotExist)},
		{"empty file", []byte{}, crl.ErrUnloadable},
		{"DER", good.Raw, crl.ErrUnloadable},
		{"broken", crl.EncodePEM(good, goodMQTT)[:700], crl.ErrUnloadable},
		{"no list of one CA", crl.EncodePEM(good), crl.ErrMissing},
		{"list of a rebuilt CA", crl.EncodePEM(rebuiltCA().list(t, 1, now), goodMQTT), errors.Join(crl.ErrMissing, crl.ErrIssuer, crl.ErrSignature)},
		{"expired", crl.EncodePEM(expired, goodMQTT), crl.ErrExpired},
		{"expired and missing", crl.EncodePEM(expired), errors.Join(crl.ErrExpired, crl.ErrMissing)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ca.crl")
			if tc.data != nil {
				write(t, path, tc.data)
			}
			got := openFile(t, path, now, mid, mqtt).Check(now)
			sameFaults(t, got, tc.want)
			for _, e := range []error{crl.ErrUnloadable, crl.ErrMissing, fs.ErrNotExist} {
				if errors.Is(got, e) != errors.Is(tc.want, e) {
					t.Errorf("got %v, want %v; they differ in %q", got, tc.want, e)
				}
			}
		})
	}
}
