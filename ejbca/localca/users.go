package localca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/bbolt"
)

// EJBCA's numbers for the state of an end entity.
const (
	statusNew         = 10
	statusFailed      = 11
	statusInProcess   = 30
	statusGenerated   = 40
	statusRevoked     = 50
	statusKeyRecovery = 70
)

var statusNames = map[int]string{
	statusNew: "NEW", statusFailed: "FAILED", 20: "INITIALIZED", statusInProcess: "INPROCESS",
	statusGenerated: "GENERATED", statusRevoked: "REVOKED", 60: "HISTORICAL", statusKeyRecovery: "KEYRECOVERY",
}

const (
	profileCertificate = "CFREE"
	profileEntity      = "EMPTY_CFREE"
	tokenUserGenerated = "USERGENERATED"
	defaultPassword    = "dojot"
	// maxName is the width of EJBCA's column for user names, in bytes here.
	maxName     = 250
	maxPassword = 1024
)

// checkName says whether s may name a user or stand in a CN.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("empty name")
	case len(s) > maxName:
		return fmt.Errorf("name of %d bytes (want at most %d)", len(s), maxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("name %q isn't UTF-8", s)
	case s != strings.TrimSpace(s):
		return fmt.Errorf("name %q begins or ends with a blank", s)
	case s == "." || s == "..":
		return fmt.Errorf("name %q can't be part of an address", s)
	}
	for _, r := range s {
		if r == utf8.RuneError {
			// Half of a surrogate pair in JSON is read as that: different names
			// would become the same.
			return fmt.Errorf("name %q holds %U, which stands for what can't be read", s, r)
		}
		if !unicode.IsPrint(r) {
			return fmt.Errorf("name %q holds %U, which isn't printable", s, r)
		}
		if strings.ContainsRune(";!%?$~<>`", r) {
			return fmt.Errorf("name %q holds %q, which EJBCA doesn't allow", s, r)
		}
	}
	return nil
}

// putUser is POST /user: create, or edit when it exists.
func (ca *CA) putUser(r *http.Request, _ []string) (any, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	e, password, err := ca.decodeEntity(body)
	if err != nil {
		return nil, err
	}
	e.Password = ca.passwords.hash(password)
	err = ca.update(r.Context(), func(tx *bbolt.Tx) error {
		old, _, err := getEntity(tx, e.Username)
		if err != nil {
			return err
		}
		e.Tenant = old.Tenant
		return putJSON(tx.Bucket(bucketUsers), []byte(e.Username), e)
	})
	if err != nil {
		return nil, err
	}
	ca.log.Info("end entity stored", "user", e.Username, "subject", e.SubjectDN, "status", statusNames[e.Status])
	return answerOK, nil
}

// decodeEntity reads the members that the service takes over and drops all
// others, as the original does.
func (ca *CA) decodeEntity(body map[string]json.RawMessage) (e entity, password string, err error) {
	if _, there := body["username"]; !there {
		return e, "", badRequest("required field usernamemissing.") // sic
	}
	m := members{body: body}
	e = entity{
		Username:       m.text("username", ""),
		CAName:         m.text("caName", ca.root().name),
		CertProfile:    m.text("certificateProfileName", profileCertificate),
		EntityProfile:  m.text("endEntityProfileName", profileEntity),
		TokenType:      m.text("tokenType", tokenUserGenerated),
		SubjectDN:      m.text("subjectDN", ""),
		Status:         m.number("status", statusNew),
		ClearPwd:       m.flag("clearPwd", true),
		KeyRecoverable: m.flag("keyRecoverable", false),
		SendNotify:     m.flag("sendNotification", false),
	}
	password = m.text("password", defaultPassword)
	if m.err != nil {
		return e, "", m.err
	}
	if err := checkName(e.Username); err != nil {
		return e, "", soapFault("Illegal username: %v.", err)
	}
	if e.SubjectDN, err = subjectOf(e.Username, e.SubjectDN); err != nil {
		return e, "", err
	}
	switch {
	case ca.byName(e.CAName) == nil:
		err = soapFault("CA with name %s does not exist.", e.CAName)
	case ca.hasSubject(e.SubjectDN):
		err = soapFault("Illegal subject DN: %s is a CA's.", e.SubjectDN)
	case e.CertProfile != profileCertificate:
		err = soapFault("Error Certificate profile %s does not exist.", e.CertProfile)
	case e.EntityProfile != profileEntity:
		err = soapFault("Error End Entity profile %s does not exist.", e.EntityProfile)
	case e.TokenType != tokenUserGenerated && e.TokenType != "P12" && e.TokenType != "JKS" && e.TokenType != "PEM":
		err = soapFault("Error Token Type  %s does not exist.", e.TokenType) // two blanks, sic
	case e.KeyRecoverable:
		err = soapFault("Key Recoverable cannot be used.")
	case e.SendNotify:
		err = soapFault("Email notification cannot be used.")
	case statusNames[e.Status] == "":
		err = soapFault("Illegal status: %d.", e.Status)
	case password == "" || len(password) > maxPassword:
		err = soapFault("Password cannot be empty or longer than %d bytes.", maxPassword)
	}
	return e, password, err
}

// hasSubject reports whether dn is the name of a CA.
func (ca *CA) hasSubject(dn string) bool {
	return slices.ContainsFunc(ca.cas, func(a *authority) bool { return a.dn == dn })
}

// subjectOf checks the subject against profile EMPTY_CFREE, which wants one CN
// and allows nothing else, and returns it in canonical form. Without one, it
// is the CN that the user's name makes, whatever characters that holds.
func subjectOf(user, dn string) (string, error) {
	if dn == "" {
		return formatDN([]attribute{{"CN", user}}), nil
	}
	attrs, err := parseDN(dn)
	if err != nil {
		return "", soapFault("Illegal subject DN: %v.", err)
	}
	if attrs[0].typ != "CN" {
		return "", soapFault("Wrong number of CN fields in Subject DN.")
	}
	if len(attrs) > 1 {
		return "", soapFault("Wrong number of %s fields in Subject DN.", attrs[1].typ)
	}
	if err := checkName(attrs[0].value); err != nil {
		return "", soapFault("Illegal subject DN: %v.", err)
	}
	return formatDN(attrs), nil
}

// members reads a JSON object's members by exact name and remembers the first
// that has a wrong type.
type members struct {
	body map[string]json.RawMessage
	err  error
}

// get decodes a member into dst and reports whether it is there.
func (m *members) get(name string, dst any) bool {
	raw, there := m.body[name]
	if !there || m.err != nil {
		return false
	}
	if string(raw) == "null" {
		m.err = soapFault("Missing element %s", name)
	} else if json.Unmarshal(raw, dst) != nil {
		m.err = soapFault("Illegal value of element %s", name)
	}
	return m.err == nil
}

func (m *members) text(name, fallback string) string {
	var s string
	if m.get(name, &s) {
		return s
	}
	return fallback
}

// number accepts 10 and "10": in XML, where the original passes it on, they
// are the same.
func (m *members) number(name string, fallback int) int {
	var v any
	if !m.get(name, &v) {
		return fallback
	}
	n, err := strconv.Atoi(strings.Trim(string(m.body[name]), `"`))
	if err != nil {
		m.err = soapFault("Illegal value of element %s", name)
	}
	return n
}

// flag accepts anything scalar, as the original does; only true and "true"
// are true.
func (m *members) flag(name string, fallback bool) bool {
	var v any
	if !m.get(name, &v) {
		return fallback
	}
	switch v := v.(type) {
	case []any, map[string]any:
		m.err = soapFault("Illegal value of element %s", name)
	case bool:
		return v
	case string:
		return strings.EqualFold(v, "true")
	}
	return false
}

// shownUser is an entry of GET /user: EJBCA's whole record, of which most
// members are never set here, and the password never shown.
type shownUser struct {
	CAName          string  `json:"caName"`
	CardNumber      *string `json:"cardNumber"`
	CertProfile     string  `json:"certificateProfileName"`
	CertSerial      *string `json:"certificateSerialNumber"`
	ClearPwd        bool    `json:"clearPwd"`
	Email           *string `json:"email"`
	EntityProfile   string  `json:"endEntityProfileName"`
	EndTime         *string `json:"endTime"`
	ExtendedInfo    *string `json:"extendedInformation"`
	HardTokenIssuer *string `json:"hardTokenIssuerName"`
	KeyRecoverable  bool    `json:"keyRecoverable"`
	Password        *string `json:"password"`
	SendNotify      bool    `json:"sendNotification"`
	StartTime       *string `json:"startTime"`
	Status          int     `json:"status"`
	SubjectAltName  *string `json:"subjectAltName"`
	SubjectDN       string  `json:"subjectDN"`
	TokenType       string  `json:"tokenType"`
	Username        string  `json:"username"`
}

// getUser is GET /user/<user>, as documented and as in 0.4.x: a list of one.
func (ca *CA) getUser(_ *http.Request, args []string) (any, error) {
	var e entity
	err := ca.db.View(func(tx *bbolt.Tx) (err error) {
		var found bool
		e, found, err = getEntity(tx, args[0])
		if err == nil && !found {
			err = errNoCertificates // sic: the original says so of users, too
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string][]shownUser{"user": {{
		CAName: e.CAName, CertProfile: e.CertProfile, ClearPwd: e.ClearPwd, EntityProfile: e.EntityProfile,
		KeyRecoverable: e.KeyRecoverable, SendNotify: e.SendNotify, Status: e.Status,
		SubjectDN: e.SubjectDN, TokenType: e.TokenType, Username: e.Username,
	}}}, nil
}

// deleteUser is DELETE /user/<user>: revoke all the user's certificates, then
// keep the user as REVOKED or, asked without a reason, remove it.
func (ca *CA) deleteUser(r *http.Request, args []string) (any, error) {
	query := r.URL.Query()
	why, err := reasonOf(query)
	if err != nil {
		return nil, err
	}
	remove := !query.Has("reason") && isTrue(query.Get("delete"))
	return answerOK, ca.removeUser(r.Context(), args[0], why, remove, nil)
}

// removeUser revokes all the user's certificates and keeps it as REVOKED, or
// removes it. If check isn't nil, it may refuse.
func (ca *CA) removeUser(ctx context.Context, user string, why cause, remove bool, check func(entity) error) error {
	changed := 0
	err := ca.update(ctx, func(tx *bbolt.Tx) error {
		changed = 0
		e, found, err := getEntity(tx, user)
		if err != nil {
			return err
		}
		if !found {
			return errWrongUser
		}
		if why.lifts {
			return soapFault("Invalid operation trying to revoke user with unrevoke reason code. Username '%s', reason %d.", user, why.code)
		}
		if check != nil {
			if err := check(e); err != nil {
				return err
			}
		}
		certs, err := ca.ownedBy(tx, user)
		if err != nil {
			return err
		}
		for _, cert := range certs {
			done, err := ca.revokeOne(tx, cert.issuer, cert.serial, why.reason)
			if err != nil {
				return err
			}
			if done {
				changed++
			}
		}
		if remove {
			return tx.Bucket(bucketUsers).Delete([]byte(user))
		}
		e.Status = statusRevoked
		return putJSON(tx.Bucket(bucketUsers), []byte(user), e)
	})
	if err == nil {
		ca.log.Info("end entity revoked", "user", user, "reason", why.reason, "certificates", changed, "removed", remove)
	}
	return err
}
