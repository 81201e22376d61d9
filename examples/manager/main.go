// Manager keeps a Mosquitto broker in step with dojot: devices' events become
// access rules, the broker's certificate and revocation list are kept fresh,
// and the broker is told, never with files that would open or stop it.
//
// "manager dev" brings everything that it needs along; "manager serve" works
// with an EJBCA-REST and a Kafka that are there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/dojot/mqtt-manager-go/ejbca"
)

// The exit statuses that scripts can tell apart.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, pflag.ErrHelp):
	case errors.As(err, new(*usageError)):
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(exitFailed)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return &usageError{errors.New("want dev or serve (add --help for their options)")}
	}
	mode := args[0]
	switch mode {
	case "dev", "serve":
	case "-h", "--help", "help":
		fmt.Fprint(stderr, usage+"  see manager dev --help and manager serve --help\n")
		return pflag.ErrHelp
	default:
		return &usageError{fmt.Errorf("unknown command %q (want dev or serve)", mode)}
	}
	s, err := parse(mode, args[1:], getenv, stderr)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if s.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if mode == "dev" {
		err = dev(ctx, s, log, stdout)
	} else {
		err = serve(ctx, s, log)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // being asked to end is no error
	}
	return err
}

// caHTTP gives up on a CA that takes a connection and never answers, so that
// the next try finds it well again.
var caHTTP = &http.Client{Timeout: time.Minute}

func serve(ctx context.Context, s *settings, log *slog.Logger) error {
	client := &ejbca.Client{BaseURL: s.ejbcaURL, HTTPClient: caHTTP}
	m, err := newManager(ctx, s, client, log)
	if err != nil {
		return err
	}
	started := time.Now()
	defer func() { log.Info("stopped", "after", time.Since(started).Round(time.Second)) }()
	return m.run(ctx, s.kafka, func() error {
		log.Info("serving", "broker", s.listen, "api", "http://"+s.api, "kafka", s.kafka)
		return nil
	})
}
