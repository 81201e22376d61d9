package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
)

// errLogin does not say which of the two it was, though dojot does.
var errLogin = fmt.Errorf("login %w: wrong user or password", ejbca.ErrDenied)

// logIn gets the first token. A daemon may have been started before dojot, and
// waits for it.
func (r *retriever) logIn(ctx context.Context) (token string, err error) {
	const longest = time.Minute
	for pause := time.Second; ; pause = min(2*pause, longest) {
		token, err := r.login.Token(ctx)
		switch {
		case err == nil:
			return token, nil
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case errors.Is(err, ejbca.ErrDenied):
			return "", errLogin
		case !r.daemon:
			return "", withRemedy(err)
		}
		r.log.Warn("waiting for dojot", "cause", err, "next try in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
