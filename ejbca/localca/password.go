package localca

import (
	"crypto"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
)

// passwordHasher hashes the passwords of end entities. What keeps them from
// being guessed is not that a hash is slow, which would cost more than the
// signature that it allows, but its key, which is made from the root's: who
// has that needs no passwords.
type passwordHasher struct{ key []byte }

// passHash is a password as it is stored.
type passHash struct {
	Salt []byte `json:"salt"`
	Hash []byte `json:"hash"`
}

func newPasswordHasher(root crypto.Signer) (passwordHasher, error) {
	der, err := x509.MarshalPKCS8PrivateKey(root)
	if err != nil {
		return passwordHasher{}, err
	}
	key, err := hkdf.Key(sha256.New, der, nil, "localca: passwords of end entities", sha256.Size)
	return passwordHasher{key}, err
}

func (h passwordHasher) hash(password string) passHash {
	salt := make([]byte, 16)
	rand.Read(salt)
	return passHash{salt, h.sum(salt, password)}
}

func (h passwordHasher) matches(p passHash, password string) bool {
	return hmac.Equal(p.Hash, h.sum(p.Salt, password))
}

// sum needs no separator: salts have one length.
func (h passwordHasher) sum(salt []byte, password string) []byte {
	mac := hmac.New(sha256.New, h.key)
	mac.Write(salt)
	mac.Write([]byte(password))
	return mac.Sum(nil)
}
