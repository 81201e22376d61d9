package localca

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
)

// hashRounds keeps passwords out of sight, and checking one far cheaper than
// the signature that it allows; against guessing, more rounds would help
// little. Enrolment passwords are used once, are random in the good case and
// known to all in dojot's, and are stored beside the CA's own key.
const hashRounds = 100

// passHash is a password as it is stored.
type passHash struct {
	Salt   []byte `json:"salt"`
	Rounds int    `json:"rounds"`
	Hash   []byte `json:"hash"`
}

func hashPassword(password string) (passHash, error) {
	p := passHash{Salt: make([]byte, 16), Rounds: hashRounds}
	rand.Read(p.Salt)
	var err error
	p.Hash, err = pbkdf2.Key(sha256.New, password, p.Salt, p.Rounds, sha256.Size)
	return p, err
}

func (p passHash) matches(password string) bool {
	h, err := pbkdf2.Key(sha256.New, password, p.Salt, p.Rounds, sha256.Size)
	return err == nil && len(p.Hash) == sha256.Size && subtle.ConstantTimeCompare(h, p.Hash) == 1
}
