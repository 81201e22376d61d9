package main

import (
	"context"
	"errors"

	"github.com/dojot/mqtt-manager-go/ejbca"
)

// issuer is the CA as the broker's end entity sees it. Unlike a device, the
// broker registers itself, each time under a password that is used once.
func (m *manager) issuer() *ejbca.Issuer {
	return &ejbca.Issuer{Client: m.ca, CA: m.caName, User: brokerName, Register: true}
}

// devicePassword is what dojot's certificate retriever enrols with, for every
// device.
const devicePassword = "dojot"

// registrar keeps the CA's end entities in step with the devices.
type registrar struct{ *manager }

// Register makes the end entity of a user that has none. One that is there
// stays as it is: making it NEW again, as upstream did at each event, would
// let a revoked device enrol again.
func (r *registrar) Register(ctx context.Context, user string) error {
	if !r.register {
		return nil
	}
	_, err := r.ca.User(ctx, user)
	if !errors.Is(err, ejbca.ErrNotFound) {
		return err
	}
	return r.ca.PutUser(ctx, &ejbca.User{Name: user, Password: devicePassword, CA: r.caName})
}

// Withdraw deletes the users' end entities, which revokes their certificates,
// has the CA list them, and installs the list.
func (r *registrar) Withdraw(ctx context.Context, users ...string) error {
	if !r.revoke {
		return nil
	}
	for _, user := range users {
		if err := r.ca.DeleteUser(ctx, user); err != nil && !errors.Is(err, ejbca.ErrNotFound) {
			return err
		}
	}
	if err := r.ca.UpdateCRL(ctx, r.caName); err != nil {
		return err
	}
	_, err := r.lists.Refresh(ctx)
	return err
}
