package localca

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/crl"
)

// What is revoked while a base is being signed stays a change for the deltas
// after it.
func TestForgetChanges(t *testing.T) {
	ca, err := OpenTemporary(Options{KeySize: p256Bits})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	a := ca.root()
	err = ca.update(t.Context(), func(tx *bbolt.Tx) error {
		for _, serial := range []string{"a", "b", "a", "c"} {
			if err := a.noteChange(tx, []byte(serial)); err != nil {
				return err
			}
		}
		return a.forgetChanges(tx, 2)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = ca.update(t.Context(), func(tx *bbolt.Tx) error { return a.noteChange(tx, []byte("d")) })
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	ca.db.View(func(tx *bbolt.Tx) error {
		return a.bucket(tx, bucketChanges).ForEach(func(k, serial []byte) error {
			got += fmt.Sprintf("%d%s ", binary.BigEndian.Uint64(k), serial)
			return nil
		})
	})
	if want := "3a 4c 5d "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A CA that is revoked while it signs hands nothing out.
func TestRevokedWhileSigning(t *testing.T) {
	ca, err := OpenTemporary(Options{KeySize: p256Bits, ECDSA: true, SubCAs: []SubCA{{Name: "MQTT"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	root, sub := ca.root(), ca.byName("MQTT")
	e := entity{Username: "a", SubjectDN: "CN=a", CAName: "MQTT", Status: statusNew}
	csr := newCSR(t)
	cert, err := sub.certify(e, csr, ca.now())
	if err != nil {
		t.Fatal(err)
	}
	err = ca.update(t.Context(), func(tx *bbolt.Tx) error {
		if err := putJSON(tx.Bucket(bucketUsers), []byte("a"), e); err != nil {
			return err
		}
		if e, _, err = getEntity(tx, "a"); err != nil {
			return err
		}
		_, err = ca.revokeOne(tx, root, sub.cert.SerialNumber.Bytes(), crl.CACompromise)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = ca.update(t.Context(), func(tx *bbolt.Tx) error { return storeCertificate(tx, sub, e, csr, cert) })
	if err == nil || !strings.Contains(err.Error(), "CA with name MQTT is revoked.") {
		t.Errorf("got %v", err)
	}
}

// What another version wrote about an end entity is not taken for an edit, over
// which signing begins again.
func TestEntityOfAnotherVersion(t *testing.T) {
	ca, err := OpenTemporary(Options{KeySize: p256Bits, ECDSA: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	post := func(path string, body map[string]string) *httptest.ResponseRecorder {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		// Signed again and again, it would get no answer before that.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tries := 0
		ca.now = func() time.Time {
			if tries++; tries == 3 {
				cancel()
			}
			return time.Now()
		}
		r := httptest.NewRequestWithContext(ctx, "POST", path, bytes.NewReader(data))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		ca.ServeHTTP(w, r)
		return w
	}
	post("/user", map[string]string{"username": "a"})
	err = ca.update(t.Context(), func(tx *bbolt.Tx) error {
		users := tx.Bucket(bucketUsers)
		data := bytes.Replace(users.Get([]byte("a")), []byte("{"), []byte(`{ "note":"",`), 1)
		return users.Put([]byte("a"), data)
	})
	if err != nil {
		t.Fatal(err)
	}
	sign := map[string]string{"passwd": defaultPassword, "certificate": base64.StdEncoding.EncodeToString(newCSR(t).Raw)}
	if w := post("/sign/a/pkcs10", sign); w.Code != 200 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// What is broken here is in the log, and none of the peer's business.
func TestOwnFault(t *testing.T) {
	var log strings.Builder
	ca, err := OpenTemporary(Options{KeySize: p256Bits, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	err = ca.update(t.Context(), func(tx *bbolt.Tx) error { return tx.Bucket(bucketUsers).Put([]byte("a"), []byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	ca.ServeHTTP(w, httptest.NewRequest("GET", "/user/a", nil))
	if got, want := w.Body.String(), `{"message":"Request failed","status":500}`+"\n"; w.Code != 500 || got != want {
		t.Errorf("got %d %s, want 500 %s", w.Code, got, want)
	}
	if got := log.String(); !strings.Contains(got, "request failed") || !strings.Contains(got, "unexpected end of JSON input") {
		t.Errorf("logged %s", got)
	}
}

// One request's trouble in a shared transaction is not the others'.
func TestSharedTransaction(t *testing.T) {
	ca, err := OpenTemporary(Options{KeySize: p256Bits})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	put := func(user string) write {
		return func(tx *bbolt.Tx) error { return tx.Bucket(bucketUsers).Put([]byte(user), []byte("{}")) }
	}
	broken := fmt.Errorf("disk on fire")
	errs := ca.commit(t.Context(), []write{
		put("a"),
		func(*bbolt.Tx) error { return errWrongUser },
		func(tx *bbolt.Tx) error {
			put("half")(tx)
			return broken
		},
		put("b"),
	})
	if want := []error{nil, errWrongUser, broken, nil}; fmt.Sprint(errs) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", errs, want)
	}
	errs = ca.commit(t.Context(), []write{put("c"), func(*bbolt.Tx) error { return errWrongUser }})
	if errs[0] != nil || errs[1] != errWrongUser {
		t.Errorf("got %v", errs)
	}
	got := ""
	ca.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketUsers).ForEach(func(k, _ []byte) error { got += string(k) + " "; return nil })
	})
	if want := "a b c "; got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
}
