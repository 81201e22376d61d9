package localca

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/crl"
)

// listKind is a complete list or a delta.
type listKind int

const (
	fullList listKind = iota
	deltaList
)

// The keys in bucketLists. A delta tells the changes since the base, which is
// not always the newest complete list: those that are made because somebody
// asked after a revocation leave the base where it is, or every delta would be
// empty.
var (
	keyFull     = []byte("full")  // issuedList, as JSON
	keyBase     = []byte("base")  // issuedList, as JSON
	keyDelta    = []byte("delta") // issuedList, as JSON
	keyFullDER  = []byte("full.der")
	keyDeltaDER = []byte("delta.der")
	keyNumber   = []byte("number") // the last one that was given, for full lists and deltas alike
)

// issuedList is a list and what it covers.
type issuedList struct {
	Number     uint64    `json:"number"`
	Changes    uint64    `json:"changes"` // how many there had been: bucketChanges' sequence
	ThisUpdate time.Time `json:"thisUpdate"`
	NextUpdate time.Time `json:"nextUpdate"`
	Entries    int       `json:"entries"`
	Base       uint64    `json:"base,omitempty"` // of a delta
}

// due reports whether it is time for the next list: a third of the lifetime or
// less is left, or the clock was set back.
func (l issuedList) due(now time.Time) bool {
	return now.After(l.renewAt()) || now.Before(l.ThisUpdate)
}

func (l issuedList) renewAt() time.Time {
	return l.NextUpdate.Add(-l.NextUpdate.Sub(l.ThisUpdate) / 3)
}

// listRequest asks for the next list of a kind. A forced one is the base of
// deltas to come.
type listRequest struct {
	kind   listKind
	forced bool
}

// putCRL is PUT /ca/<name>/crl: make one now.
func (ca *CA) putCRL(r *http.Request, args []string) (any, error) {
	a, err := ca.named(args[0])
	if err != nil {
		return nil, err
	}
	return answerOK, a.lists.Do(r.Context(), listRequest{fullList, true})
}

// getCRL is GET /ca/<name>/crl.
func (ca *CA) getCRL(r *http.Request, args []string) (any, error) {
	a, err := ca.named(args[0])
	if err != nil {
		return nil, err
	}
	kind, query := fullList, r.URL.Query()
	if isTrue(query.Get("delta")) {
		if kind = deltaList; ca.deltaLifetime == 0 {
			return nil, soapFault("CA with name %s has no delta CRL.", a.name)
		}
	}
	if isTrue(query.Get("update")) {
		if err := a.lists.Do(r.Context(), listRequest{fullList, true}); err != nil {
			return nil, err
		}
	}
	der, err := ca.currentList(r.Context(), a, kind)
	if err != nil {
		return nil, err
	}
	return map[string]string{"CRL": base64.StdEncoding.EncodeToString(der)}, nil
}

// currentList returns the newest list of a kind, after making one when there
// is none, it is due, or a revocation isn't in it.
func (ca *CA) currentList(ctx context.Context, a *authority, kind listKind) ([]byte, error) {
	der, stale, err := ca.newestList(a, kind)
	if err != nil {
		return nil, err
	}
	if stale == nil {
		return der, nil
	}
	// What is revoked from now on may be missing, like from any answer that is
	// on its way already.
	for _, request := range stale {
		if err := a.lists.Do(ctx, request); err != nil {
			return nil, err
		}
	}
	der, _, err = ca.newestList(a, kind)
	return der, err
}

// newestList returns the newest list of a kind, and what has to be made first
// if it isn't current.
func (ca *CA) newestList(a *authority, kind listKind) (der []byte, missing []listRequest, err error) {
	var s listState
	err = ca.db.View(func(tx *bbolt.Tx) (err error) {
		key := keyFullDER
		if kind == deltaList {
			key = keyDeltaDER
		}
		der = bytes.Clone(a.bucket(tx, bucketLists).Get(key))
		s, err = a.listState(tx)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	// The clock comes last: seen from before it was made, a list that somebody
	// else just made would be one of the future.
	now := ca.now()
	switch {
	case kind == fullList && (s.full.Number == 0 || s.full.Changes != s.changes || s.full.due(now)):
		missing = []listRequest{{kind: fullList}}
	case kind == deltaList && s.base.due(now): // a new base, a new delta
		missing = []listRequest{{fullList, true}, {kind: deltaList}}
	case kind == deltaList && (s.delta.Base != s.base.Number || s.delta.Changes != s.changes || s.delta.due(now)):
		missing = []listRequest{{kind: deltaList}}
	}
	return der, missing, nil
}

// listState is what an authority issued last.
type listState struct {
	full, base, delta issuedList
	number, changes   uint64
}

func (a *authority) listState(tx *bbolt.Tx) (s listState, err error) {
	b := a.bucket(tx, bucketLists)
	if err := errors.Join(getJSON(b, keyFull, &s.full), getJSON(b, keyBase, &s.base), getJSON(b, keyDelta, &s.delta)); err != nil {
		return s, err
	}
	if n := b.Get(keyNumber); len(n) == 8 {
		s.number = binary.BigEndian.Uint64(n)
	}
	s.changes = a.bucket(tx, bucketChanges).Sequence()
	return s, nil
}

// makeLists signs and stores the next lists; one run serves everybody who
// waits for a newer one. Writers are held up only while it is stored, not while
// it is signed: what they revoke meanwhile is in the one that they ask for
// next. Only one run happens at a time for a CA, so numbers can't be given
// twice.
func (ca *CA) makeLists(a *authority, asked []listRequest) []error {
	var wanted, forced [2]bool
	for _, r := range asked {
		wanted[r.kind] = true
		forced[r.kind] = forced[r.kind] || r.forced
	}
	var made [2]error
	if wanted[fullList] {
		made[fullList] = ca.makeFull(a, forced[fullList])
	}
	if wanted[deltaList] {
		made[deltaList] = ca.makeDelta(a)
	}
	errs := make([]error, len(asked))
	for i, r := range asked {
		if err := made[r.kind]; err != nil {
			errs[i] = fmt.Errorf("making a CRL of CA %q: %w", a.name, err)
		}
	}
	return errs
}

func (ca *CA) makeFull(a *authority, forced bool) error {
	var s listState
	var entries []crl.Entry
	now := ca.now()
	err := ca.db.View(func(tx *bbolt.Tx) (err error) {
		if s, err = a.listState(tx); err != nil {
			return err
		}
		// RFC 5280 section 3.3: an entry stays until it was on a list issued
		// after the certificate's end. The time of a list that was made when the
		// clock was ahead says nothing about that.
		unknown := now.Before(s.full.ThisUpdate)
		// Room for all at once: growing would take as long as the rest.
		entries = make([]crl.Entry, 0, uint64(s.full.Entries)+s.changes-s.full.Changes)
		return a.bucket(tx, bucketRevoked).ForEach(func(serial, data []byte) error {
			rev, err := decodeRevocation(serial, data)
			if err != nil {
				return err
			}
			if unknown || !rev.NotAfter.Before(s.full.ThisUpdate) {
				entries = append(entries, rev.entry(serial))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	next := s.next(now, ca.crlLifetime, len(entries))
	der, err := a.sign(next, entries)
	if err != nil {
		return err
	}
	rebase := forced || s.base.Number == 0 || s.base.due(next.ThisUpdate)
	return ca.storeList(a, next, keyFull, keyFullDER, der, func(tx *bbolt.Tx) error {
		if !rebase {
			return nil
		}
		if err := a.forgetChanges(tx, next.Changes); err != nil {
			return err
		}
		return putJSON(a.bucket(tx, bucketLists), keyBase, next)
	})
}

// forgetChanges removes the changes up to one, which are in the base now. It
// keeps the few that came since, and drops the rest all at once.
func (a *authority) forgetChanges(tx *bbolt.Tx, upTo uint64) error {
	changes := a.bucket(tx, bucketChanges)
	type change struct{ number, serial []byte }
	var kept []change
	c := changes.Cursor()
	for k, v := c.Seek(binary.BigEndian.AppendUint64(nil, upTo+1)); k != nil; k, v = c.Next() {
		kept = append(kept, change{bytes.Clone(k), bytes.Clone(v)})
	}
	sequence := changes.Sequence()
	parent := tx.Bucket(bucketCAs).Bucket([]byte(a.name))
	if err := parent.DeleteBucket(bucketChanges); err != nil {
		return err
	}
	changes, err := parent.CreateBucket(bucketChanges)
	if err != nil {
		return err
	}
	for _, c := range kept {
		if err := changes.Put(c.number, c.serial); err != nil {
			return err
		}
	}
	return changes.SetSequence(sequence)
}

func (ca *CA) makeDelta(a *authority) error {
	var s listState
	var entries []crl.Entry
	now := ca.now()
	err := ca.db.View(func(tx *bbolt.Tx) (err error) {
		if s, err = a.listState(tx); err != nil {
			return err
		}
		revoked := a.bucket(tx, bucketRevoked)
		seen := make(map[string]bool)
		return a.bucket(tx, bucketChanges).ForEach(func(_, serial []byte) error {
			if seen[string(serial)] {
				return nil
			}
			seen[string(serial)] = true
			data := revoked.Get(serial)
			if data == nil {
				// RFC 5280 section 5.2.4: some complete list may have had it
				// on hold since the base.
				entries = append(entries, revocation{Reason: crl.RemoveFromCRL, At: now}.entry(serial))
				return nil
			}
			rev, err := decodeRevocation(serial, data)
			if err != nil {
				return err
			}
			entries = append(entries, rev.entry(serial))
			return nil
		})
	})
	if err != nil {
		return err
	}
	next := s.next(now, ca.deltaLifetime, len(entries))
	next.Base = s.base.Number
	der, err := a.sign(next, entries)
	if err != nil {
		return err
	}
	return ca.storeList(a, next, keyDelta, keyDeltaDER, der, nil)
}

// next is the list that comes after those of s. Its number is the time's, for
// the sake of a CA that is restored from a backup: it knows no more of the
// numbers that it gave since.
func (s listState) next(now time.Time, lifetime time.Duration, entries int) issuedList {
	now = now.UTC().Truncate(time.Second)
	number := max(s.number+1, uint64(max(now.Unix(), 0)))
	return issuedList{Number: number, Changes: s.changes, ThisUpdate: now, NextUpdate: now.Add(lifetime), Entries: entries}
}

// sign makes a list; one with a base is a delta.
func (a *authority) sign(l issuedList, entries []crl.Entry) ([]byte, error) {
	t := &crl.Template{
		Number:     new(big.Int).SetUint64(l.Number),
		ThisUpdate: l.ThisUpdate,
		NextUpdate: l.NextUpdate,
		Entries:    entries,
	}
	if l.Base != 0 {
		t.Base = new(big.Int).SetUint64(l.Base)
	}
	return crl.Sign(t, a.cert, a.key)
}

// storeList makes a list the newest of its kind; and does also, if not nil.
func (ca *CA) storeList(a *authority, l issuedList, key, derKey, der []byte, and func(*bbolt.Tx) error) error {
	// Not for the requests' contexts to stop: the signature is made.
	err := ca.update(context.Background(), func(tx *bbolt.Tx) error {
		b := a.bucket(tx, bucketLists)
		if err := putJSON(b, key, l); err != nil {
			return err
		}
		if err := b.Put(derKey, der); err != nil {
			return err
		}
		if err := b.Put(keyNumber, binary.BigEndian.AppendUint64(nil, l.Number)); err != nil {
			return err
		}
		if and != nil {
			return and(tx)
		}
		return nil
	})
	if err == nil {
		ca.log.Info("CRL issued", "ca", a.name, "number", l.Number, "base", l.Base, "entries", l.Entries, "nextUpdate", l.NextUpdate)
	}
	return err
}

func (r revocation) entry(serial []byte) crl.Entry {
	return crl.Entry{Serial: new(big.Int).SetBytes(serial), RevokedAt: r.At, Reason: r.Reason}
}
