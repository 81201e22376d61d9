package main

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

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

// requests is how many requests to the CA are under way at once: a fleet that
// is registered one by one waits for the network most of the time.
const requests = 16

func forEach(ctx context.Context, users []string, do func(ctx context.Context, user string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(requests)
	for _, user := range users {
		group.Go(func() error { return do(ctx, user) })
	}
	return group.Wait()
}

// Register makes the end entities of users that have none. Those that are
// there stay as they are: making them NEW again, as upstream did at each
// event, would let a revoked device enrol again.
func (r *registrar) Register(ctx context.Context, users ...string) error {
	if !r.register {
		return nil
	}
	return forEach(ctx, users, func(ctx context.Context, user string) error {
		_, err := r.ca.User(ctx, user)
		if !errors.Is(err, ejbca.ErrNotFound) {
			return err
		}
		return r.ca.PutUser(ctx, &ejbca.User{Name: user, Password: devicePassword, CA: r.caName})
	})
}

// Withdraw deletes the users' end entities, which revokes their certificates,
// has the CA list them, and installs the list.
func (r *registrar) Withdraw(ctx context.Context, users ...string) error {
	if !r.revoke {
		return nil
	}
	err := forEach(ctx, users, func(ctx context.Context, user string) error {
		err := r.ca.DeleteUser(ctx, user)
		if errors.Is(err, ejbca.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := r.ca.UpdateCRL(ctx, r.caName); err != nil {
		return err
	}
	_, err = r.lists.Refresh(ctx)
	return err
}
