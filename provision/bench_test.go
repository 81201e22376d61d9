package provision_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/provision"
)

// oneList is a CA that has been asked for its list before.
type oneList struct {
	*testCA
	list *x509.RevocationList
}

func (ca oneList) CRL(context.Context) (*x509.RevocationList, error) { return ca.list, nil }

// BenchmarkEnsure looks at an identity that is good, as a fleet's daily run
// does for most devices, beside a list of so many entries.
func BenchmarkEnsure(b *testing.B) {
	for _, entries := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprintf("list=%d", entries), func(b *testing.B) {
			ca := newTestCA(b, "IOTmidCA")
			for i := range entries {
				ca.revoked = append(ca.revoked, x509.RevocationListEntry{SerialNumber: big.NewInt(int64(i + 1)), RevocationTime: time.Now()})
			}
			list, err := ca.CRL(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			id := &provision.Identity{CommonName: "24f6", KeyType: provision.P256, Files: provision.DeviceFiles(b.TempDir(), "24f6", "IOTmidCA")}
			for b.Loop() {
				if _, err := id.Ensure(b.Context(), oneList{ca, list}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
