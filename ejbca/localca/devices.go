package localca

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/crl"
)

// ErrIdentity reports a device that can have no end entity of its own: a name
// that a certificate can't hold, or one that another tenant's device has, or
// an end entity that no device's event made.
var ErrIdentity = errors.New("no end entity for this device")

// Devices keeps the CA's end entities in step with dojot's devices, which
// EJBCA-REST did by listening to device-manager. CA is required. It is safe for
// concurrent use as long as its fields stay as they are.
type Devices struct {
	CA *CA
	// TenantInName names end entities <tenant>:<id>, as dojot since 0.5-alpha,
	// and not just <id>. Ids are unique per tenant only: without the tenant,
	// a second device with the same id is refused.
	TenantInName bool
	// Issuer is the name of the CA for new end entities. Empty means the root.
	Issuer string
	// Password is that of new end entities. Empty means "dojot", with which
	// dojot's certificate retriever enrols.
	Password string `json:"-"`
}

// Format prints no password, whatever the verb.
func (d Devices) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "devices of CA %q, tenant in name: %t", d.Issuer, d.TenantInName)
}

// Apply does what an event asks for; kind, tenant and id are as
// dojotevents.Decode returns them. "create" and "update" register the device,
// "remove" revokes its certificates and deletes its end entity; other kinds are
// passed over. It returns when the effect is on disk; repeating it is harmless.
// Calls at the same time share a transaction, so many events are best applied
// concurrently, those of one device in order.
//
// A device that is registered stays as it is. In the original, each update put
// its end entity back to NEW, with the password that all know: who was revoked
// could enrol again. A device that is removed and made again can.
//
// [ErrIdentity] is for an event to set aside: it fails each time.
func (d *Devices) Apply(ctx context.Context, kind, tenant, id string) error {
	var err error
	switch kind {
	case "create", "update":
		err = d.register(ctx, tenant, id)
	case "remove":
		err = d.remove(ctx, tenant, id)
	}
	if err != nil {
		return fmt.Errorf("localca: device %q of tenant %q: %w", id, tenant, err)
	}
	return nil
}

// user returns the end entity's name.
func (d *Devices) user(tenant, id string) (string, error) {
	if tenant == "" {
		return "", fmt.Errorf("%w: no tenant", ErrIdentity)
	}
	user := id
	if d.TenantInName {
		if strings.Contains(id, ":") {
			return "", fmt.Errorf("%w: a colon in the id, which separates it from the tenant", ErrIdentity)
		}
		user = tenant + ":" + id
	}
	if err := checkName(user); err != nil {
		return "", fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	if id == "" {
		return "", fmt.Errorf("%w: no id", ErrIdentity)
	}
	return user, nil
}

// belongs refuses end entities that aren't this tenant's. The name says whose
// it is, if the tenant is in it.
func (d *Devices) belongs(e entity, tenant string) error {
	if d.TenantInName || e.Tenant == tenant {
		return nil
	}
	if e.Tenant == "" {
		return fmt.Errorf("%w: end entity %q was made by a request, not by an event", ErrIdentity, e.Username)
	}
	return fmt.Errorf("%w: end entity %q is a device's of tenant %q", ErrIdentity, e.Username, e.Tenant)
}

func (d *Devices) register(ctx context.Context, tenant, id string) error {
	user, err := d.user(tenant, id)
	if err != nil {
		return err
	}
	e := entity{
		Username: user, Tenant: tenant, CAName: d.Issuer, Status: statusNew, ClearPwd: true,
		CertProfile: profileCertificate, EntityProfile: profileEntity, TokenType: tokenUserGenerated,
	}
	if e.CAName == "" {
		e.CAName = d.CA.root().name
	}
	if d.CA.byName(e.CAName) == nil {
		return fmt.Errorf("unknown CA %q", e.CAName)
	}
	if e.SubjectDN, err = subjectOf(user, ""); err != nil {
		return err
	}
	if d.CA.hasSubject(e.SubjectDN) {
		return fmt.Errorf("%w: %s is a CA", ErrIdentity, e.SubjectDN)
	}
	password := d.Password
	if password == "" {
		password = defaultPassword
	}
	e.Password = d.CA.passwords.hash(password)
	made := false
	err = d.CA.update(ctx, func(tx *bbolt.Tx) error {
		made = false
		old, found, err := getEntity(tx, user)
		if err != nil {
			return err
		}
		if found {
			return d.belongs(old, tenant)
		}
		made = true
		return putJSON(tx.Bucket(bucketUsers), []byte(user), e)
	})
	if made && err == nil {
		d.CA.log.Info("end entity stored", "user", user, "subject", e.SubjectDN, "status", statusNames[e.Status])
	}
	return err
}

func (d *Devices) remove(ctx context.Context, tenant, id string) error {
	user, err := d.user(tenant, id)
	if err != nil {
		return err
	}
	err = d.CA.removeUser(ctx, user, cause{reason: crl.Unspecified}, true, func(e entity) error {
		return d.belongs(e, tenant)
	})
	if errors.Is(err, errWrongUser) {
		return nil // it is gone already
	}
	return err
}
