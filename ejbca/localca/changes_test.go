package localca

import (
	"encoding/binary"
	"fmt"
	"testing"

	"go.etcd.io/bbolt"
)

// What is revoked while a base is being signed stays a change for the deltas
// after it.
func TestForgetChanges(t *testing.T) {
	ca, err := Open(t.TempDir(), Options{KeySize: p256Bits})
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

// One request's trouble in a shared transaction is not the others'.
func TestSharedTransaction(t *testing.T) {
	ca, err := Open(t.TempDir(), Options{KeySize: p256Bits})
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
