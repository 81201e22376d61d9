package localca_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

func TestRestart(t *testing.T) {
	clock := newClock()
	dir := newDir(t)
	open := func() (*service, func()) {
		ca, err := localca.Open(dir, localca.Options{Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(ca)
		return &service{t, ca, server.URL}, func() {
			server.Close()
			if err := ca.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	s, stop := open()
	cert := s.enrol("a", keys()[0])
	s.register("b")
	s.must("DELETE", certPath(cert)+"?reason=KEYCOMPROMISE", "", nil)
	before := s.crl(clock.Now())
	root := s.ca.Certificate()
	stop()

	s, stop = open()
	defer stop()
	if !s.ca.Certificate().Equal(root) {
		t.Error("the root changed")
	}
	after := s.crl(clock.Now())
	if !bytes.Equal(before.Raw, after.Raw) {
		t.Errorf("CRL %v became %v without need", before.Number, after.Number)
	}
	s.must("PUT", "/ca/IOTmidCA/crl", "", nil)
	if next := s.crl(clock.Now()); next.Number.Cmp(before.Number) <= 0 || serials(next) != serials(before) {
		t.Errorf("got CRL %v with %q after %v with %q", next.Number, serials(next), before.Number, serials(before))
	}
	if status, text := s.sign("a", newRequest(t, keys()[0], nil)); status != 400 || !strings.Contains(text, "GENERATED (40)") {
		t.Errorf("a: got %d %s, want GENERATED", status, text)
	}
	if status, text := s.sign("b", newRequest(t, keys()[0], nil)); status != 400 || !strings.Contains(text, "same key") {
		t.Errorf("b with a's key: got %d %s", status, text)
	}
	status, text := s.sign("b", newRequest(t, keys()[1], nil))
	s.certificate(status, text)
}

func TestBackup(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	revoked := s.enrol("a", keys()[0])
	s.must("DELETE", certPath(revoked), "", nil)
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "ca.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.ca.Backup(file), file.Close()); err != nil {
		t.Fatal(err)
	}
	s.must("DELETE", "/user/a?delete=true", "", nil)

	restored := serve(t, dir, localca.Options{})
	if !restored.ca.Certificate().Equal(s.ca.Certificate()) {
		t.Error("it is another CA")
	}
	restored.must("GET", "/user/a", "", nil)
	if got, want := serials(restored.crl(time.Now())), fmt.Sprintf("%x:0", revoked.SerialNumber); got != want {
		t.Errorf("CRL has %q, want %q", got, want)
	}
}

// Who takes a backup slowly holds nobody up, and gets what there was.
func TestStalledBackup(t *testing.T) {
	ca, err := localca.Open(newDir(t), localca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	r, w := io.Pipe()
	backup := make(chan error, 1)
	go func() { backup <- errors.Join(ca.Backup(w), w.Close()) }()
	begin := make([]byte, 10)
	if _, err := io.ReadFull(r, begin); err != nil {
		t.Fatal(err)
	}
	tooLong := time.AfterFunc(time.Minute, func() { r.Close() })
	localca.Fill(t, ca, 5000, 0) // the file has to grow
	if err := ca.Close(); err != nil {
		t.Error(err)
	}
	tooLong.Stop()
	rest, err := io.ReadAll(r)
	if err := errors.Join(err, <-backup); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.db"), append(begin, rest...), 0o600); err != nil {
		t.Fatal(err)
	}
	restored := serve(t, dir, localca.Options{})
	if status, text := restored.ask("GET", "/user/admin:00000000", ""); status != 404 {
		t.Errorf("a user that was made after it began: got %d %s, want 404", status, text)
	}
}

// Who has lists that the CA issued after its backup takes those of the restored
// one as soon as it makes one.
func TestRestored(t *testing.T) {
	clock := newClock()
	s := serve(t, newDir(t), localca.Options{Now: clock.Now, DeltaLifetime: time.Hour})
	dir := t.TempDir()
	backup, err := os.Create(filepath.Join(dir, "ca.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.ca.Backup(backup), backup.Close()); err != nil {
		t.Fatal(err)
	}
	installed, err := crl.OpenFile(filepath.Join(t.TempDir(), "ca.crl"), crl.FileOptions{CAs: []*x509.Certificate{s.ca.Certificate()}, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		clock.Advance(time.Hour)
		s.must("PUT", "/ca/IOTmidCA/crl", "", nil)
	}
	last := s.crl(clock.Now())
	if _, err := installed.Install(last); err != nil {
		t.Fatal(err)
	}

	restored := serve(t, dir, localca.Options{Now: clock.Now, DeltaLifetime: time.Hour})
	clock.Advance(time.Second)
	restored.must("PUT", "/ca/IOTmidCA/crl", "", nil)
	list := restored.crl(clock.Now())
	if _, err := installed.Install(list); err != nil {
		t.Errorf("list %v after %v: %v", list.Number, last.Number, err)
	}
	if delta := restored.list("IOTmidCA", "?delta=true", clock.Now()); delta.Number.Cmp(list.Number) <= 0 || baseOf(t, delta) != list.Number.Int64() {
		t.Errorf("delta %v of %d, want one of %v", delta.Number, baseOf(t, delta), list.Number)
	}
}

func TestOneAtATime(t *testing.T) {
	dir := newDir(t)
	serve(t, dir, localca.Options{})
	if _, err := localca.Open(dir, localca.Options{}); !errors.Is(err, localca.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want %v and the file", err, localca.ErrInUse)
	}
}

func TestOpen(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "new", "ca")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// What a crash while it was made left behind.
	if err := os.WriteFile(filepath.Join(dir, "ca.db.new-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 { // of two that make it at the same time, one wins
		wg.Go(func() {
			ca, err := localca.Open(dir, localca.Options{Name: "Test CA", KeySize: 2048})
			if err != nil {
				if !errors.Is(err, localca.ErrInUse) {
					t.Error(err)
				}
				return
			}
			if got := ca.Certificate().Subject.String(); got != "CN=Test CA,O=EJBCA IOT,C=SE" {
				t.Errorf("subject %s", got)
			}
			if err := ca.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("folder holds %v, %v, want one file", entries, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "ca.db"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	// A restored backup that is open to all gets closed; the name stays.
	if err := os.Chmod(filepath.Join(dir, "ca.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, localca.Options{})
	if info, err := os.Stat(filepath.Join(dir, "ca.db")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	var cas struct{ CAs []struct{ Name string } }
	s.must("GET", "/ca", "", &cas)
	if len(cas.CAs) != 1 || cas.CAs[0].Name != "Test CA" {
		t.Errorf("got CAs %v", cas)
	}
	// Without a caName, a user is this CA's.
	s.register("a")
}

// A folder's name is a name, not a pattern that others match.
func TestOddFolder(t *testing.T) {
	parent := t.TempDir()
	put := func(folder string) string {
		t.Helper()
		path := filepath.Join(parent, folder, "ca.db.new-1")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := put("cab")
	for _, folder := range []string{"ca[bc]", "ca*", "ca[1"} {
		stale := put(folder)
		if err := os.WriteFile(filepath.Join(parent, folder, "ca.db"), newborn(), 0o600); err != nil {
			t.Fatal(err)
		}
		serve(t, filepath.Join(parent, folder), localca.Options{})
		if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %v, want what a crash left to be gone", folder, err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("file of another folder: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "ca.db"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(garbage, "ca.db")
	for _, tc := range []struct {
		name, dir string
		opts      localca.Options
		want      string
	}{
		{"other name", newDir(t), localca.Options{Name: "PROTOCOL"}, `the CA is called "IOTmidCA", not "PROTOCOL"`},
		{"bad name", t.TempDir(), localca.Options{Name: "a\nb"}, `name "a\nb"`},
		{"small key", t.TempDir(), localca.Options{KeySize: 1024}, "key size 1024 (want 2048 to 8192 for RSA, or 256 for ECDSA)"},
		{"short CRLs", t.TempDir(), localca.Options{CRLLifetime: time.Second}, "CRL lifetime 1s"},
		{"damaged file", garbage, localca.Options{}, "opening " + file},
		{"folder is a file", file, localca.Options{}, "not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ca, err := localca.Open(tc.dir, tc.opts)
			if err == nil {
				ca.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// A file that isn't whole is an error, and not the end of the process.
func TestDamagedFile(t *testing.T) {
	var backup bytes.Buffer // has no room at its end
	if err := serve(t, newDir(t), localca.Options{}).ca.Backup(&backup); err != nil {
		t.Fatal(err)
	}
	whole := backup.Bytes()
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.db")
	open := func(data []byte) error {
		t.Helper()
		// In place: a lock that was left would be on this file.
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		ca, err := localca.Open(dir, localca.Options{})
		if err != nil {
			return err
		}
		return ca.Close()
	}
	page := os.Getpagesize()
	for size := 0; size < len(whole); size += page {
		want := fmt.Sprintf("opening %s: damaged: %d bytes (want %d or more)", path, size, len(whole))
		if size < 2*page { // it doesn't say how many
			want = "opening " + path + ": "
		}
		if err := open(whole[:size]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("cut off: got %v, want %s", err, want)
		}
	}
	found := 0
	for at := 0; at < len(whole); at += page {
		for _, with := range []byte{0, 0x7f} {
			data := bytes.Clone(whole)
			copy(data[at:], bytes.Repeat([]byte{with}, page))
			if err := open(data); err != nil {
				found++
				if !strings.Contains(err.Error(), path+": ") {
					t.Errorf("page at %d is filled with %x: got %v, want the path in it", at, with, err)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page was missed")
	}
	if err := open(whole); err != nil {
		t.Errorf("repaired: %v", err)
	}
}

func TestPasswordsAreNotStored(t *testing.T) {
	dir := newDir(t)
	s := serve(t, dir, localca.Options{})
	s.must("POST", "/user", `{"username":"a","password":"correct horse","clearPwd":true}`, nil)
	data, err := os.ReadFile(filepath.Join(dir, "ca.db"))
	if err != nil || !bytes.Contains(data, []byte(`"username":"a"`)) {
		t.Fatalf("the user isn't in the file: %v", err)
	}
	if bytes.Contains(data, []byte("correct horse")) {
		t.Error("the password is in the file")
	}
}

func TestCRL(t *testing.T) {
	clock := newClock()
	s := serve(t, newDir(t), localca.Options{Now: clock.Now})
	number := int64(0)
	// check wants a list that was made since the last one or is the same, with
	// these serials and reasons.
	check := func(what string, made bool, want string) {
		t.Helper()
		list := s.crl(clock.Now())
		if got := list.Number.Int64(); got < number || (got > number) != made {
			t.Errorf("%s: list %d after %d, made since: want %v", what, got, number, made)
		}
		number = list.Number.Int64()
		if got := serials(list); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		if life := list.NextUpdate.Sub(list.ThisUpdate); life != 24*time.Hour {
			t.Errorf("%s: list lives %v, want 24 h", what, life)
		}
	}
	check("at the start", true, "")
	a, b := s.enrol("a", keys()[0]), s.enrol("b", keys()[1])
	check("nothing happened", false, "")
	s.must("DELETE", certPath(a), "", nil)
	aLine := fmt.Sprintf("%x:0", a.SerialNumber)
	check("revoked", true, aLine)
	s.must("DELETE", certPath(b)+"?reason=CERTIFICATEHOLD", "", nil)
	bLine := fmt.Sprintf("%x:6", b.SerialNumber)
	list := s.crl(clock.Now())
	if got := serials(list); !strings.Contains(got, aLine) || !strings.Contains(got, bLine) || len(got) != len(aLine)+1+len(bLine) {
		t.Errorf("on hold: got %q, want %q and %q", got, aLine, bLine)
	}
	number = list.Number.Int64()
	s.must("DELETE", certPath(b)+"?reason=REMOVEFROMCRL", "", nil)
	check("released", true, aLine)
	s.must("PUT", "/ca/IOTmidCA/crl", "", nil)
	check("asked for", true, aLine)
	clock.Advance(16 * time.Hour)
	check("a third is left", false, aLine)
	clock.Advance(time.Second)
	check("less than a third is left", true, aLine)
	clock.Advance(731 * 24 * time.Hour)
	check("certificate expired", true, aLine) // once more, RFC 5280 section 3.3
	clock.Advance(17 * time.Hour)
	check("expired and listed after", true, "")
	clock.Advance(-5 * time.Hour)
	list = s.crl(clock.Now()) // verifies: a clock that was set back doesn't leave a list of the future
	if list.Number.Int64() <= number {
		t.Errorf("clock set back: list %v after %d", list.Number, number)
	}
}

// By the lists of a clock that was ahead, a certificate expired; by those that
// come after, it is as valid as before, and as revoked.
func TestClockWasAhead(t *testing.T) {
	clock := newClock()
	s := serve(t, newDir(t), localca.Options{Now: clock.Now})
	cert := s.enrol("a", keys()[0])
	s.must("DELETE", certPath(cert)+"?reason=KEYCOMPROMISE", "", nil)
	const ahead = 3 * 365 * 24 * time.Hour
	clock.Advance(ahead)
	s.crl(clock.Now())
	s.must("PUT", "/ca/IOTmidCA/crl", "", nil)
	if got := serials(s.crl(clock.Now())); got != "" {
		t.Errorf("expired and listed after: got %q, want nothing", got)
	}
	clock.Advance(-ahead)
	want := fmt.Sprintf("%x:1", cert.SerialNumber)
	for _, what := range []string{"right again", "a third is left"} {
		if got := serials(s.crl(clock.Now())); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		clock.Advance(16*time.Hour + time.Second)
	}
}

// A CA that was made by a wrong clock says so, and issues nothing that nobody
// would accept.
func TestWrongClock(t *testing.T) {
	for _, tc := range []struct {
		name string
		off  time.Duration // of the clock that it was made by
		want string
	}{
		{"ahead", 4 * 365 * 24 * time.Hour, "is not valid before"},
		{"behind", -11 * 365 * 24 * time.Hour, "has expired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clock := newClock()
			dir := newDir(t)
			clock.Advance(-tc.off)
			var log journal
			s := serve(t, dir, localca.Options{Now: clock.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if got := log.take(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, tc.want) {
				t.Errorf("logged %s, want a warning: %s", got, tc.want)
			}
			s.register("a")
			if status, text := s.sign("a", newRequest(t, keys()[0], nil)); status != 400 || !strings.Contains(text, "CA with name IOTmidCA "+tc.want) {
				t.Errorf("signing: got %d %s, want 400: %s", status, text, tc.want)
			}
			s.crl(clock.Now()) // who got a certificate before goes on
			if err := s.ca.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := localca.Open(dir, localca.Options{Now: clock.Now, SubCAs: []localca.SubCA{{Name: "MQTT", KeySize: 256}}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("a CA below: got %v, want %s", err, tc.want)
			}
		})
	}
	t.Run("no clock", func(t *testing.T) {
		dir := t.TempDir()
		boot := time.Unix(300, 0)
		_, err := localca.Open(dir, localca.Options{KeySize: 256, Now: func() time.Time { return boot }})
		if err == nil || !strings.Contains(err.Error(), "the clock says 1970-01-01T00:05:00Z") {
			t.Errorf("got %v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

// Who asks while somebody else has a list made doesn't take it for one of the
// future, and has no other made.
func TestListMadeMeanwhile(t *testing.T) {
	clock := newClock()
	var meanwhile func()
	s := serve(t, newDir(t), localca.Options{Now: func() time.Time {
		now := clock.Now()
		if f := meanwhile; f != nil {
			meanwhile = nil
			f()
		}
		return now
	}})
	before := localca.Commits(t, s.ca)
	meanwhile = func() {
		clock.Advance(time.Second)
		s.must("PUT", "/ca/IOTmidCA/crl", "", nil)
	}
	s.must("GET", "/ca/IOTmidCA/crl", "", nil)
	if got := localca.Commits(t, s.ca); got != before+1 {
		t.Errorf("%d lists were made, want 1", got-before)
	}
}

func TestRevokedUser(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	first, second := s.enrol("a", keys()[0]), s.enrol("a", keys()[1])
	s.must("DELETE", certPath(first)+"?reason=CERTIFICATEHOLD", "", nil)
	s.must("DELETE", "/user/a?reason=CESSATIONOFOPERATION", "", nil)
	got := serials(s.crl(time.Now()))
	for _, cert := range []string{fmt.Sprintf("%x:5", first.SerialNumber), fmt.Sprintf("%x:5", second.SerialNumber)} {
		if !strings.Contains(got, cert) {
			t.Errorf("CRL has %q, want %q in it", got, cert)
		}
	}
	var user struct{ User []struct{ Status int } }
	s.must("GET", "/user/a", "", &user)
	if len(user.User) != 1 || user.User[0].Status != 50 {
		t.Errorf("got %v, want status 50", user)
	}
	// A user with a name that begins the same isn't touched by any of this.
	s.enrol("ab", keys()[2])
	s.must("DELETE", "/user/a?delete=true", "", nil)
	s.must("GET", "/user/ab/find?valid=true", "", nil)
}

func TestClosed(t *testing.T) {
	ca, err := localca.Open(newDir(t), localca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Close(); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	ca.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ca/IOTmidCA/crl", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d %s, want 503", w.Code, w.Body)
	}
}

func TestConcurrency(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	const users = 6
	deviceKeys := make([]*rsa.PrivateKey, users)
	for i := range deviceKeys {
		var err error
		if deviceKeys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() {
			name := fmt.Sprintf("admin:%x", i)
			s.register(name)
			// Of several requests at a time one is served.
			csr := newRequest(t, deviceKeys[i], nil)
			var served, wgServed = make(chan bool, 3), sync.WaitGroup{}
			for range cap(served) {
				wgServed.Go(func() {
					status, _ := s.sign(name, csr)
					served <- status == http.StatusOK
				})
			}
			wgServed.Wait()
			close(served)
			n := 0
			for ok := range served {
				if ok {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s got %d certificates, want 1", name, n)
			}
			if status, text := s.ask("DELETE", "/user/"+name, ""); status != http.StatusOK {
				t.Errorf("revoking %s: %d %s", name, status, text)
			}
			// Who was told that it is done finds it in the list.
			var found struct{ Certs []any }
			s.must("GET", "/user/"+name+"/find?valid=false", "", &found)
			if got := len(s.crl(time.Now()).RevokedCertificateEntries); got < 1 {
				t.Errorf("%s is revoked, the CRL has %d entries", name, got)
			}
		})
	}
	wg.Wait()
	if got := len(s.crl(time.Now()).RevokedCertificateEntries); got != users {
		t.Errorf("the CRL has %d entries, want %d", got, users)
	}
}

// A temporary CA is a whole one, and leaves nothing even while it is open.
func TestOpenTemporary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var roots []*x509.Certificate
	for range 2 {
		ca, err := localca.OpenTemporary(localca.Options{KeySize: 256, SubCAs: []localca.SubCA{{Name: "MQTT"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer ca.Close()
		server := httptest.NewServer(ca)
		defer server.Close()
		s := &service{t, ca, server.URL}
		cert := s.enrol("a", keys()[0])
		s.must("DELETE", certPath(cert), "", nil)
		if got, want := serials(s.crl(time.Now())), fmt.Sprintf("%x:0", cert.SerialNumber); got != want {
			t.Errorf("CRL has %q, want %q", got, want)
		}
		roots = append(roots, ca.Certificate())
	}
	if roots[0].Equal(roots[1]) {
		t.Error("both have the same root")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
