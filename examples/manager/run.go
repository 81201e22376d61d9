package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/internal/retry"
	"github.com/dojot/mqtt-manager-go/provision"
)

// run starts the broker, if it is ours, and keeps everything going until ctx
// ends or a part fails for good. Then it stops the parts before the broker.
// Up is called when the broker answers.
func (m *manager) run(ctx context.Context, kafka []string, up func() error) (err error) {
	defer func() { err = errors.Join(err, m.acl.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	brokerCtx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	brokerEnded := make(chan struct{})
	go func() {
		defer close(brokerEnded)
		if m.child == nil {
			return
		}
		if err := m.child.Run(brokerCtx); err != nil {
			cancel(err) // it could not be started
		}
	}()
	defer func() {
		stopBroker()
		<-brokerEnded
	}()

	if m.child != nil {
		err = m.reloader.Ready(ctx)
	} else {
		m.log.Info("waiting for the broker", "at", m.brokerAddr)
		// The files may have changed since it read them. It may be up before
		// its PID file is, or before its supervisor knows.
		untold := func(err error) bool { return errors.Is(err, mosquitto.ErrUntold) }
		err = retry.Do(ctx, m.log, "waiting for the broker", untold, m.reloader.Reload)
	}
	if err != nil {
		return cause(ctx, err)
	}
	m.log.Info("the broker is up", "version", m.version, "listener", m.listen)

	api, err := net.Listen("tcp", m.api)
	if err != nil {
		return fmt.Errorf("--api: %w", err)
	}
	work, workCtx := errgroup.WithContext(ctx)
	consumer := m.consumer(kafka)
	work.Go(func() error { return consumer.Run(workCtx, m.handle) })
	work.Go(func() error { return m.reconcile(workCtx) })
	work.Go(func() error { return m.lists.Run(workCtx) })
	work.Go(func() error { return m.renew(workCtx) })
	work.Go(func() error { return serveHTTP(workCtx, api, m.handler(consumer), m.log) })
	if err := up(); err != nil {
		cancel(err)
	}
	err = work.Wait()
	if ctx.Err() != nil {
		return cause(ctx, nil)
	}
	return err
}

// cause is why ctx ended, or err if it has not. Being asked to end is no
// error.
func cause(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if c := context.Cause(ctx); !errors.Is(c, context.Canceled) {
		return c
	}
	return nil
}

// renew keeps the broker's certificate from expiring, and has the broker read
// a new one.
func (m *manager) renew(ctx context.Context) error {
	identity := *m.identity
	identity.Report = nil
	renewer := &provision.Renewer{
		Identity: &identity,
		CA:       &followedCA{Issuer: m.issuer(), chain: m.chain, log: m.log},
		Changed:  m.reloader.Reload,
		Logger:   m.log.With("of", "the broker"),
	}
	return renewer.Run(ctx)
}

// followedCA is the CA that the manager began with. One that was built anew
// under its name is not followed: the broker's clients have certificates of
// the old one, and whether they are all to be refused from now on is for an
// operator to say.
type followedCA struct {
	*ejbca.Issuer
	chain []*x509.Certificate
	log   *slog.Logger
}

func (ca *followedCA) Chain(ctx context.Context) ([]*x509.Certificate, error) {
	chain, err := ca.Issuer.Chain(ctx)
	if err == nil && !slices.EqualFunc(chain, ca.chain, (*x509.Certificate).Equal) {
		err = errors.New("the CA has another certificate now; restart the manager to follow it")
		ca.log.Error("the broker's certificate will not be renewed", "cause", err)
	}
	return chain, err
}
