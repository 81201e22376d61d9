package localca

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/crl"
)

// putCRL is PUT /ca/<name>/crl: make one now.
func (ca *CA) putCRL(r *http.Request, args []string) (any, error) {
	if err := ca.checkCA(args[0]); err != nil {
		return nil, err
	}
	return answerOK, ca.crlMaker.Do(r.Context(), struct{}{})
}

// getCRL is GET /ca/<name>/crl.
func (ca *CA) getCRL(r *http.Request, args []string) (any, error) {
	if err := ca.checkCA(args[0]); err != nil {
		return nil, err
	}
	query := r.URL.Query()
	if isTrue(query.Get("delta")) {
		return nil, soapFault("CA %s has no delta CRLs.", ca.name)
	}
	if isTrue(query.Get("update")) {
		if err := ca.crlMaker.Do(r.Context(), struct{}{}); err != nil {
			return nil, err
		}
	}
	der, err := ca.currentCRL(r.Context())
	if err != nil {
		return nil, err
	}
	return map[string]string{"CRL": base64.StdEncoding.EncodeToString(der)}, nil
}

// currentCRL returns the newest CRL, after making one when there is none, a
// revocation isn't in it, or less than a third of its lifetime is left.
func (ca *CA) currentCRL(ctx context.Context) ([]byte, error) {
	newest, changes, err := ca.newestCRL()
	if err != nil {
		return nil, err
	}
	now := ca.now()
	left, life := newest.NextUpdate.Sub(now), newest.NextUpdate.Sub(newest.ThisUpdate)
	if newest.DER != nil && newest.Changes == changes && left >= life/3 && !now.Before(newest.ThisUpdate) {
		return newest.DER, nil
	}
	if err := ca.crlMaker.Do(ctx, struct{}{}); err != nil {
		return nil, err
	}
	newest, _, err = ca.newestCRL()
	return newest.DER, err
}

// newestCRL returns what was issued last and how often revocations changed.
func (ca *CA) newestCRL() (newest issuedCRL, changes uint64, err error) {
	err = ca.db.View(func(tx *bbolt.Tx) (err error) {
		newest, err = readCRL(tx)
		changes = tx.Bucket(bucketRevoked).Sequence()
		return err
	})
	return newest, changes, err
}

func readCRL(tx *bbolt.Tx) (newest issuedCRL, err error) {
	if data := tx.Bucket(bucketCRL).Get([]byte("full")); data != nil {
		err = json.Unmarshal(data, &newest)
	}
	return newest, err
}

// makeCRL signs and stores the next CRL; one run serves everybody who waits
// for a newer one. Writers are held up only while it is stored, not while it
// is signed: what they revoke meanwhile is in the one that they ask for next.
// Only one run happens at a time, so numbers can't be given twice.
func (ca *CA) makeCRL(_ context.Context, waiting []struct{}) []error {
	err := ca.makeNextCRL()
	if err == nil {
		return nil
	}
	errs := make([]error, len(waiting))
	for i := range errs {
		errs[i] = fmt.Errorf("making a CRL: %w", err)
	}
	return errs
}

func (ca *CA) makeNextCRL() error {
	now := ca.now().UTC().Truncate(time.Second)
	next := issuedCRL{ThisUpdate: now, NextUpdate: now.Add(ca.crlLifetime)}
	var entries []crl.Entry
	err := ca.db.View(func(tx *bbolt.Tx) error {
		last, err := readCRL(tx)
		if err != nil {
			return err
		}
		next.Number = last.Number + 1
		revoked := tx.Bucket(bucketRevoked)
		next.Changes = revoked.Sequence()
		return revoked.ForEach(func(serial, data []byte) error {
			var rev revocation
			if err := json.Unmarshal(data, &rev); err != nil {
				return err
			}
			// RFC 5280 section 3.3: an entry stays until it was on a list
			// issued after the certificate's end.
			if rev.NotAfter.Before(last.ThisUpdate) {
				return nil
			}
			entries = append(entries, crl.Entry{Serial: new(big.Int).SetBytes(serial), RevokedAt: rev.At, Reason: rev.Reason})
			return nil
		})
	})
	if err != nil {
		return err
	}
	next.DER, err = crl.Sign(&crl.Template{
		Number:     new(big.Int).SetUint64(next.Number),
		ThisUpdate: next.ThisUpdate,
		NextUpdate: next.NextUpdate,
		Entries:    entries,
	}, ca.cert, ca.key)
	if err != nil {
		return err
	}
	err = ca.db.Update(func(tx *bbolt.Tx) error {
		return putJSON(tx.Bucket(bucketCRL), []byte("full"), next)
	})
	if err == nil {
		ca.log.Info("CRL issued", "number", next.Number, "entries", len(entries), "nextUpdate", next.NextUpdate)
	}
	return err
}
