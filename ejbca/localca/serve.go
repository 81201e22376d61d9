package localca

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/loopback"
)

// DefaultAddress is the original's port, on loopback.
const DefaultAddress = "127.0.0.1:5583"

// How long peers may take. A CRL of a million entries is 50 MB.
const (
	headerTimeout   = 10 * time.Second
	requestTimeout  = 30 * time.Second
	answerTimeout   = 5 * time.Minute
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
	maxHeader       = 32 << 10
)

// ListenAndServe listens at a TCP address, empty for [DefaultAddress], and
// serves there as [CA.Serve] does.
func (ca *CA) ListenAndServe(ctx context.Context, address string) error {
	if address == "" {
		address = DefaultAddress
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("localca: %w", err)
	}
	return ca.Serve(ctx, l)
}

// Serve serves the API at l, which it closes, and makes CRLs on schedule, until
// ctx ends; then it lets requests under way finish, for ten seconds, and
// returns ctx's error. Peers that take long to send or to listen are cut off.
//
// Without a token ([Options].TokenFile), whoever can connect is CA
// administrator; so l has to be on loopback then, and requests have to be for
// localhost or a loopback address, so that no page in a browser of this machine
// gets there by a name of its own that leads here.
func (ca *CA) Serve(ctx context.Context, l net.Listener) error {
	if tcp, ok := l.Addr().(*net.TCPAddr); ca.token == nil && (!ok || !tcp.IP.IsLoopback()) {
		return errors.Join(fmt.Errorf("localca: address %v isn't on loopback (want that, or a token)", l.Addr()), l.Close())
	}
	server := &http.Server{
		Handler:           ca.forThisHost(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(ca.log.Handler(), slog.LevelWarn),
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	scheduled := make(chan struct{})
	go func() {
		defer close(scheduled)
		ca.Run(running)
	}()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()

	var err error
	select {
	case err = <-ended: // the listener broke
		err = fmt.Errorf("localca: %w", err)
	case <-ctx.Done():
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if server.Shutdown(patience) != nil {
			server.Close()
		}
		<-ended
		err = ctx.Err()
	}
	stop()
	<-scheduled
	return err
}

// forThisHost is the handler behind Serve.
func (ca *CA) forThisHost() http.Handler {
	if ca.token != nil {
		return ca
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback.Is(r.Host) {
			writeAnswer(w, http.StatusMisdirectedRequest, &fault{"This CA serves localhost only, not " + r.Host, http.StatusMisdirectedRequest})
			return
		}
		ca.ServeHTTP(w, r)
	})
}
