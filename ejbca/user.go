package ejbca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/dojot/mqtt-manager-go/crl"
)

// UserStatus is EJBCA's state of an end entity.
type UserStatus int

// The states; only a user that is New, Failed, InProcess or in KeyRecovery may
// enrol, and one signature makes it Generated.
const (
	New         UserStatus = 10
	Failed      UserStatus = 11
	Initialized UserStatus = 20
	InProcess   UserStatus = 30
	Generated   UserStatus = 40
	Revoked     UserStatus = 50
	Historical  UserStatus = 60
	KeyRecovery UserStatus = 70
)

// String returns EJBCA's word, such as "GENERATED".
func (s UserStatus) String() string {
	switch s {
	case New:
		return "NEW"
	case Failed:
		return "FAILED"
	case Initialized:
		return "INITIALIZED"
	case InProcess:
		return "INPROCESS"
	case Generated:
		return "GENERATED"
	case Revoked:
		return "REVOKED"
	case Historical:
		return "HISTORICAL"
	case KeyRecovery:
		return "KEYRECOVERY"
	}
	return fmt.Sprintf("UserStatus(%d)", int(s))
}

// User is an end entity: who may get a certificate, by which password, with
// which subject.
type User struct {
	// Name is the end entity's name: "admin:5c6512" for dojot's device 5c6512
	// of tenant admin. EJBCA turns the characters ;!%?$~<>, the back-tick, line
	// breaks and NUL into slashes.
	Name string
	// Password allows to enrol once. The service never returns it. Required
	// by PutUser: without one, the service would set one that all know.
	Password string `json:"-"`
	// SubjectDN is the certificate's subject. Empty means CN=<Name>.
	SubjectDN string
	// CA, CertificateProfile, EndEntityProfile and TokenType mean the
	// service's defaults when they are empty: IOTmidCA, CFREE, EMPTY_CFREE
	// and USERGENERATED.
	CA                 string
	CertificateProfile string
	EndEntityProfile   string
	TokenType          string
	// Status is the state to set. Zero means New.
	Status UserStatus
}

// String describes the user without its password.
func (u User) String() string {
	return fmt.Sprintf("user %q subject %q status %v", u.Name, u.SubjectDN, u.Status)
}

// Format prints what String returns, whatever the verb.
func (u User) Format(f fmt.State, _ rune) { io.WriteString(f, u.String()) }

// LogValue is the user without its password.
func (u User) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", u.Name), slog.String("subject", u.SubjectDN), slog.String("status", u.Status.String()))
}

// wireUser is the user in JSON. Members that are left out get the service's
// defaults; those that are always sent are those without a safe one.
type wireUser struct {
	Username           string     `json:"username"`
	Password           string     `json:"password,omitempty"`
	SubjectDN          string     `json:"subjectDN"`
	CAName             string     `json:"caName,omitempty"`
	CertificateProfile string     `json:"certificateProfileName,omitempty"`
	EndEntityProfile   string     `json:"endEntityProfileName,omitempty"`
	TokenType          string     `json:"tokenType,omitempty"`
	Status             UserStatus `json:"status"`
}

// PutUser creates the end entity, or edits it if it exists: everything is
// replaced, password and status included, so that it may enrol (again) unless
// Status says otherwise.
func (c *Client) PutUser(ctx context.Context, u *User) error {
	op := fmt.Sprintf("store user %q", u.Name)
	if u.Name == "" || u.Password == "" {
		return fmt.Errorf("ejbca: %s: name and password are required", op)
	}
	wire := wireUser{
		Username: u.Name, Password: u.Password, SubjectDN: u.SubjectDN, CAName: u.CA,
		CertificateProfile: u.CertificateProfile, EndEntityProfile: u.EndEntityProfile,
		TokenType: u.TokenType, Status: u.Status,
	}
	if wire.SubjectDN == "" {
		wire.SubjectDN = "CN=" + escapeDN(u.Name)
	}
	if wire.Status == 0 {
		wire.Status = New
	}
	return c.do(ctx, request{op: op, method: http.MethodPost, path: []string{"user"}, body: wire, secret: u.Password}, nil)
}

// escapeDN keeps a name from adding attributes to the subject (RFC 4514
// section 2.4).
func escapeDN(s string) string {
	var b strings.Builder
	for i, r := range s {
		edge := r == ' ' && (i == 0 || i == len(s)-1)
		if edge || strings.ContainsRune(`,+"\<>;`, r) || r == '#' && i == 0 {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// User returns the end entity called name, without its password. That it is
// that one is checked.
//
// EJBCA-REST of dojot 0.5-alpha has the test inverted and says of each user
// that exists that it doesn't: there, the answer is always [ErrNotFound].
func (c *Client) User(ctx context.Context, name string) (*User, error) {
	op := fmt.Sprintf("find user %q", name)
	var answer struct{ User []wireUser }
	if err := c.do(ctx, request{op: op, method: http.MethodGet, path: []string{"user", name}}, &answer); err != nil {
		return nil, err
	}
	if len(answer.User) == 0 {
		return nil, fmt.Errorf("ejbca: %s: %w", op, ErrNotFound)
	}
	u := answer.User[0]
	if u.Username != stored(name) {
		return nil, fmt.Errorf("ejbca: %s: the answer is user %q", op, shorten(u.Username))
	}
	return &User{
		Name: u.Username, SubjectDN: u.SubjectDN, CA: u.CAName, CertificateProfile: u.CertificateProfile,
		EndEntityProfile: u.EndEntityProfile, TokenType: u.TokenType, Status: u.Status,
	}, nil
}

// stored returns a name as EJBCA stores it.
func stored(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(";!%?$~<>`\n\r\x00", r) {
			return '/'
		}
		return r
	}, name)
}

// maxCertsAnswer has room for more certificates than a device gets in a life.
const maxCertsAnswer = 16 << 20

// Certificates returns the certificates of the end entity called name: those
// that are neither expired nor revoked, or all of them. None is no error, nor
// is an end entity that doesn't exist: the service doesn't tell them apart.
//
// EJBCA-REST since 2019-01 can't put the certificates that it finds into JSON
// and answers 500.
func (c *Client) Certificates(ctx context.Context, name string, all bool) ([]*x509.Certificate, error) {
	op := fmt.Sprintf("find certificates of user %q", name)
	query := url.Values{"valid": {strconv.FormatBool(!all)}}
	var answer struct{ Certs []wireCertificate }
	err := c.do(ctx, request{op: op, method: http.MethodGet, path: []string{"user", name, "find"}, query: query, limit: maxCertsAnswer}, &answer)
	if e := (*Error)(nil); errors.As(err, &e) && e.StatusCode == http.StatusNotFound && e.Message == "no certificates found" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	certs := make([]*x509.Certificate, len(answer.Certs))
	for i, w := range answer.Certs {
		if certs[i], err = w.parse(); err != nil {
			return nil, fmt.Errorf("ejbca: %s: certificate %d: %w", op, i+1, err)
		}
	}
	return certs, nil
}

// RevokeUser revokes all certificates of the end entity, which stays, unable
// to enrol. Certificates that are revoked already are passed over, so
// repeating it does no harm.
func (c *Client) RevokeUser(ctx context.Context, name string, why crl.Reason) error {
	op := fmt.Sprintf("revoke user %q", name)
	query, err := reasonQuery(why)
	if err == nil && why == crl.RemoveFromCRL {
		err = errors.New("a user can't be released from hold, only its certificates")
	}
	if err != nil {
		return fmt.Errorf("ejbca: %s: %w", op, err)
	}
	return c.do(ctx, request{op: op, method: http.MethodDelete, path: []string{"user", name}, query: query}, nil)
}

// DeleteUser revokes all certificates of the end entity, for the reason
// unspecified, and removes it. The service can't do that for another reason.
func (c *Client) DeleteUser(ctx context.Context, name string) error {
	return c.do(ctx, request{
		op:     fmt.Sprintf("delete user %q", name),
		method: http.MethodDelete,
		path:   []string{"user", name},
		query:  url.Values{"delete": {"true"}},
	}, nil)
}
