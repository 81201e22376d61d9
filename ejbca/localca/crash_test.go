package localca_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

const crashDir = "LOCALCA_TEST_CRASH_DIR"

// answered is what the CA said before it was killed.
type answered struct {
	serials []string // issued, with each that was issued twice there twice
	revoked []string
	full    int64 // the highest number of a complete list
	delta   int64 // and of a delta
}

// What was answered survives the process, however it ends: killed under load,
// it issues no serial twice, has every certificate and every revocation, and
// its CRL numbers never go back.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		workUntilKilled(t, dir)
		return
	}
	dir := newDir(t)
	var all answered
	for round := range 4 {
		// Killed while its clients are somewhere in the middle of things.
		all.until(t, dir, 20+7*round)
		if t.Failed() {
			return
		}
		t.Run(fmt.Sprintf("after %d certificates, %d revocations and CRL %d", len(all.serials), len(all.revoked), max(all.full, all.delta)), func(t *testing.T) {
			all.check(t, dir)
		})
	}
}

// until has a process work on the CA in dir, and kills it after some answers.
func (all *answered) until(t *testing.T, dir string, answers int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		if n == answers {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		// What was answered before it died counts, up to the last whole line.
		what, value, whole := strings.Cut(strings.TrimSuffix(lines.Text(), "."), " ")
		whole = whole && strings.HasSuffix(lines.Text(), ".")
		switch {
		case whole && what == "issued":
			all.serials = append(all.serials, value)
		case whole && what == "revoked":
			all.revoked = append(all.revoked, value)
		case whole && (what == "full" || what == "delta"):
			number, last := int64(0), &all.full
			if what == "delta" {
				last = &all.delta
			}
			if _, err := fmt.Sscan(value, &number); err != nil || number < *last {
				t.Errorf("%s list %s after %d, %v", what, value, *last, err)
			}
			*last = number
		case n <= answers:
			t.Errorf("child says %q", lines.Text())
		}
	}
	cmd.Wait()
}

func (all *answered) check(t *testing.T, dir string) {
	s := serve(t, dir, localca.Options{ECDSA: true, DeltaLifetime: time.Hour})
	slices.Sort(all.serials)
	for i, serial := range all.serials {
		if i > 0 && serial == all.serials[i-1] {
			t.Errorf("serial %s was issued twice", serial)
		}
		s.must("GET", "/ca/"+url.PathEscape(issuerDN)+"/certificate/"+serial, "", nil)
	}
	full, delta := s.list("IOTmidCA", "", time.Now()), s.list("IOTmidCA", "?delta=true", time.Now())
	if n := full.Number.Int64(); n < all.full {
		t.Errorf("CRL %d after CRL %d was answered", n, all.full)
	}
	if n := delta.Number.Int64(); n < all.delta {
		t.Errorf("delta %d after delta %d was answered", n, all.delta)
	}
	got := serials(full)
	for _, serial := range all.revoked {
		if !strings.Contains(got, serial+":0") {
			t.Errorf("%s was revoked and isn't on the CRL", serial)
		}
	}
	// No number is given again, of whatever kind the lost ones were.
	next := s.list("IOTmidCA", "?update=true", time.Now()).Number.Int64()
	if next <= max(all.full, all.delta, full.Number.Int64(), delta.Number.Int64()) {
		t.Errorf("next CRL is %d, after %d and delta %d", next, all.full, all.delta)
	}
	all.full = next
}

func workUntilKilled(t *testing.T, dir string) {
	ca, err := localca.Open(dir, localca.Options{ECDSA: true, DeltaLifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string, answer any) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		ca.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			panic(fmt.Sprintf("%s %s: %d %s", method, path, w.Code, w.Body))
		}
		if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil {
			panic(err)
		}
	}
	var mu sync.Mutex
	say := func(what string, value any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %v.\n", what, value)
	}
	s := &service{t: t, ca: ca}
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				user := fmt.Sprintf("u%d-%d-%d", os.Getpid(), client, i)
				ask("POST", "/user", asJSON(map[string]string{"username": user, "password": "secret"}), new(any))
				r := httptest.NewRequest("POST", "/sign/"+user+"/pkcs10", strings.NewReader(signBody("secret", newECDSARequest(t, "P-256"))))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				ca.ServeHTTP(w, r)
				cert := s.certificate(w.Code, w.Body.String())
				serial := cert.SerialNumber.Text(16)
				say("issued", serial)
				if i%2 == 0 {
					ask("DELETE", certPath(cert), "", new(any))
					say("revoked", serial)
				}
			}
		})
	}
	for i := 0; ; i++ {
		ask("PUT", "/ca/IOTmidCA/crl", "", new(any))
		var answer struct{ CRL string }
		ask("GET", "/ca/IOTmidCA/crl"+[]string{"", "?delta=true"}[i%2], "", &answer)
		what := []string{"full", "delta"}[i%2]
		list, err := crl.Parse([]byte(answer.CRL))
		if err != nil {
			panic(err)
		}
		say(what, list.Number)
	}
}
