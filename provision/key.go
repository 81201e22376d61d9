package provision

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// KeyType is the algorithm of a new key.
type KeyType int

const (
	RSA  KeyType = iota // KeyBits long: all that dojot's certificate profile CFREE takes
	P256                // ECDSA on the curve P-256: three orders of magnitude cheaper to make
)

// String returns the name that ParseKeyType reads.
func (t KeyType) String() string {
	switch t {
	case RSA:
		return "rsa"
	case P256:
		return "p256"
	}
	return fmt.Sprintf("KeyType(%d)", int(t))
}

// ParseKeyType reads "rsa" or "p256".
func ParseKeyType(s string) (KeyType, error) {
	for _, t := range []KeyType{RSA, P256} {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, &FieldError{"key type", s, "rsa or p256"}
}

// The key sizes that dojot's certificate profile CFREE takes, in bits.
const (
	DefaultKeyBits = 2048
	minKeyBits     = 2048
	maxKeyBits     = 8192
)

func (id *Identity) keyBits() int { return cmp.Or(id.KeyBits, DefaultKeyBits) }

// newKey makes a key, which cannot be interrupted. A key that comes too late
// is of no use: whoever waited for it may be gone, and the files another's.
func (id *Identity) newKey(ctx context.Context) (crypto.Signer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key, err := id.generateKey()
	return key, cmp.Or(err, ctx.Err())
}

func (id *Identity) generateKey() (crypto.Signer, error) {
	if id.KeyType == P256 {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, id.keyBits())
}

// isNewKey reports whether a key could be newKey's.
func (id *Identity) isNewKey(key crypto.Signer) bool {
	switch public := key.Public().(type) {
	case *ecdsa.PublicKey:
		return id.KeyType == P256 && public.Curve == elliptic.P256()
	case *rsa.PublicKey:
		return id.KeyType == RSA && public.N.BitLen() == id.keyBits()
	}
	return false
}

func (id *Identity) validateKey() error {
	switch id.KeyType {
	case RSA:
		if id.KeyBits != 0 && (id.KeyBits < minKeyBits || id.KeyBits > maxKeyBits) {
			return &FieldError{"key length", fmt.Sprint(id.KeyBits), fmt.Sprintf("%d to %d bits", minKeyBits, maxKeyBits)}
		}
	case P256:
		if id.KeyBits != 0 && id.KeyBits != 256 {
			return &FieldError{"key length", fmt.Sprint(id.KeyBits), "256 bits, or 0, for a key on P-256"}
		}
	default:
		return &FieldError{"key type", id.KeyType.String(), "rsa or p256"}
	}
	return nil
}
