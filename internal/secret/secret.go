// Package secret reads secrets from files, and asks those who send HTTP
// requests for one.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// ReadFile returns the one line that the file at path has; a line break at its
// end doesn't count.
func ReadFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("%s is empty or has several lines (want one line)", path)
	}
	return secret, nil
}

// Token is a bearer token (RFC 6750), which it knows the hash of.
type Token [sha256.Size]byte

// ReadToken returns the token in the file at path.
func ReadToken(path string) (*Token, error) {
	secret, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := Token(sha256.Sum256([]byte(secret)))
	return &t, nil
}

// Admits tells whether r has the header "Authorization: Bearer <token>". A nil
// Token admits everybody.
func (t *Token) Admits(r *http.Request) bool {
	if t == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token)) // equal lengths, whatever came
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], t[:]) == 1
}
