package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/internal/retry"
)

// errLogin does not say which of the two it was, though dojot does.
var errLogin = fmt.Errorf("login %w: wrong user or password", ejbca.ErrDenied)

// logIn gets the first token. A daemon may have been started before dojot, and
// waits for it.
func (r *retriever) logIn(ctx context.Context) (token string, err error) {
	mayPass := func(err error) bool { return r.daemon && !errors.Is(err, ejbca.ErrDenied) }
	err = retry.Do(ctx, r.log, "waiting for dojot", mayPass, func(ctx context.Context) (err error) {
		token, err = r.login.Token(ctx, "")
		return err
	})
	switch {
	case errors.Is(err, ejbca.ErrDenied):
		return "", errLogin
	case ctx.Err() != nil:
		return "", err
	}
	return token, withRemedy(err)
}
