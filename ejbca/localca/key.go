package localca

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// ErrPassphrase reports that a CA's key is encrypted with another passphrase
// than the one given, or with one where none is given.
var ErrPassphrase = errors.New("the passphrase doesn't open the CA's key")

const (
	// passphraseRounds is a hundred times what openssl takes by default. A
	// passphrase that a file holds for a machine has no reason to be short.
	passphraseRounds = 200_000
	// maxRounds ends before one's patience.
	maxRounds = 10_000_000
)

var (
	oidPBES2          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256CBC      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// encryptedKey is EncryptedPrivateKeyInfo (RFC 5958 section 3) with PBES2 (RFC
// 8018 section 6.2), in the only form that is written here: PBKDF2 with
// HMAC-SHA-256 and AES-256 in CBC mode, which openssl pkey reads.
type encryptedKey struct {
	Algorithm struct {
		ID     asn1.ObjectIdentifier
		Params struct {
			KDF struct {
				ID     asn1.ObjectIdentifier
				Params struct {
					Salt   []byte
					Rounds int
					PRF    pkix.AlgorithmIdentifier
				}
			}
			Cipher struct {
				ID asn1.ObjectIdentifier
				IV []byte
			}
		}
	}
	Data []byte
}

// marshalKey returns the key as PKCS#8, encrypted if there is a passphrase.
func marshalKey(key crypto.Signer, passphrase string) ([]byte, error) {
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil || passphrase == "" {
		return plain, err
	}
	var e encryptedKey
	e.Algorithm.ID = oidPBES2
	params := &e.Algorithm.Params
	params.KDF.ID = oidPBKDF2
	params.KDF.Params.Salt = make([]byte, 16)
	params.KDF.Params.Rounds = passphraseRounds
	params.KDF.Params.PRF = pkix.AlgorithmIdentifier{Algorithm: oidHMACWithSHA256, Parameters: asn1.NullRawValue}
	params.Cipher.ID = oidAES256CBC
	params.Cipher.IV = make([]byte, aes.BlockSize)
	rand.Read(params.KDF.Params.Salt)
	rand.Read(params.Cipher.IV)
	block, err := e.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize // RFC 8018 appendix B.2.5
	e.Data = append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, params.Cipher.IV).CryptBlocks(e.Data, e.Data)
	return asn1.Marshal(e)
}

// parseKey reads what marshalKey returns.
func parseKey(der []byte, passphrase string) (crypto.Signer, error) {
	if passphrase == "" {
		key, err := parsePlainKey(der)
		if e := (encryptedKey{}); err != nil && e.unmarshal(der) == nil {
			return nil, ErrPassphrase
		}
		return key, err
	}
	if _, err := parsePlainKey(der); err == nil {
		return nil, fmt.Errorf("its key isn't encrypted, but a passphrase is given: %w", ErrPassphrase)
	}
	var e encryptedKey
	if err := e.unmarshal(der); err != nil {
		return nil, err
	}
	block, err := e.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(e.Data))
	cipher.NewCBCDecrypter(block, e.Algorithm.Params.Cipher.IV).CryptBlocks(plain, e.Data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.HasSuffix(plain, bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, ErrPassphrase
	}
	key, err := parsePlainKey(plain[:len(plain)-pad])
	if err != nil {
		return nil, ErrPassphrase
	}
	return key, nil
}

func parsePlainKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("its key is damaged") // the cause may quote it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("its key is %T, which can't sign", key)
	}
	return signer, nil
}

func (e *encryptedKey) unmarshal(der []byte) error {
	rest, err := asn1.Unmarshal(der, e)
	params := &e.Algorithm.Params
	if err != nil || len(rest) > 0 ||
		!e.Algorithm.ID.Equal(oidPBES2) || !params.KDF.ID.Equal(oidPBKDF2) ||
		!params.KDF.Params.PRF.Algorithm.Equal(oidHMACWithSHA256) || !params.Cipher.ID.Equal(oidAES256CBC) ||
		len(params.KDF.Params.Salt) == 0 || params.KDF.Params.Rounds < 1 || params.KDF.Params.Rounds > maxRounds ||
		len(params.Cipher.IV) != aes.BlockSize || len(e.Data) == 0 || len(e.Data)%aes.BlockSize != 0 {
		return errors.New("its key is damaged")
	}
	return nil
}

func (e *encryptedKey) cipher(passphrase string) (cipher.Block, error) {
	kdf := e.Algorithm.Params.KDF.Params
	key, err := pbkdf2.Key(sha256.New, passphrase, kdf.Salt, kdf.Rounds, 32)
	if err != nil {
		return nil, err
	}
	return aes.NewCipher(key)
}
