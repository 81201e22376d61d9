package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
	"github.com/dojot/mqtt-manager-go/internal/loopback"
)

// handler is the HTTP API. Like the original's it asks nobody for a password
// unless there is a token.
func (m *manager) handler(consumer *dojotkafka.Consumer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/devices/{tenant}/{id}", func(w http.ResponseWriter, r *http.Request) { m.changeDevice(w, r, false) })
	mux.HandleFunc("DELETE /v1/devices/{tenant}/{id}", func(w http.ResponseWriter, r *http.Request) { m.changeDevice(w, r, true) })
	mux.HandleFunc("GET /v1/devices", m.listDevices)
	mux.HandleFunc("PUT /v1/crl", m.putCRL)
	all := http.NewServeMux()
	all.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { m.health(w, r, consumer.Stats()) })
	all.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !m.apiToken.Admits(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, errors.New("want the header Authorization: Bearer and the token of --api-token-file"))
			return
		}
		mux.ServeHTTP(w, r)
	})
	// A web page that somebody on this machine visits must not reach it, nor
	// by a name of its own that leads here.
	protected := http.NewCrossOriginProtection().Handler(all)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopback.Is(m.api) && !loopback.Is(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, fmt.Errorf("this API serves localhost only, not %q", r.Host))
			return
		}
		protected.ServeHTTP(w, r)
	})
}

// serveHTTP serves until ctx ends and then finishes what it has begun.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	const finish = 5 * time.Second
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute, // a list of a million entries, over a slow line
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
		defer cancel()
		err := server.Shutdown(late)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	if err := <-stopped; err != nil {
		return err
	}
	return ctx.Err()
}

// answer writes a JSON value.
func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value) // a client that is gone needs no answer
}

// refuse answers in the original's error shape.
func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]any{"message": err.Error(), "status": status})
}

type deviceAnswer struct {
	fleet.Device
	User string `json:"user"`
}

// changeDevice answers when the change is on disk and the broker works by it.
// Adding a device that is there, and removing one that is not, succeed too, so
// that a caller can repeat what it is not sure of.
func (m *manager) changeDevice(w http.ResponseWriter, r *http.Request, remove bool) {
	device := fleet.Device{Tenant: r.PathValue("tenant"), ID: r.PathValue("id")}
	err := m.fleet.Apply(r.Context(), fleet.Change{Device: device, Remove: remove})
	refused, other := fleet.ChangeErrors(err)
	switch {
	case other != nil:
		m.log.Error("device not changed", "device", device, "remove", remove, "cause", other)
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("not done, or not completely; try again: %w", other))
	case len(refused) == 0:
		m.log.Info("device changed", "device", device, "remove", remove)
		answer(w, http.StatusOK, deviceAnswer{device, m.fleet.Naming.User(device)})
	case errors.Is(err, fleet.ErrTaken):
		refuse(w, http.StatusConflict, refused[0])
	default:
		refuse(w, http.StatusBadRequest, refused[0].Err)
	}
}

// listDevices writes {"devices":[…]} as it goes: a fleet may be large.
func (m *manager) listDevices(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	// The list is collected first, so that a slow reader does not hold up
	// changes.
	var all []deviceAnswer
	for d, user := range m.fleet.Devices {
		all = append(all, deviceAnswer{d, user})
	}
	out := bufio.NewWriter(w)
	io.WriteString(out, `{"devices":[`)
	for i, d := range all {
		if i > 0 {
			io.WriteString(out, ",")
		}
		io.WriteString(out, "\n")
		text, err := json.Marshal(d)
		if err != nil {
			return // two strings cannot fail to encode
		}
		out.Write(text)
	}
	io.WriteString(out, "\n]}\n")
	out.Flush()
}

// maxCRL bounds what is read: a list of a million entries has 47 MB as PEM.
const maxCRL = 100 << 20

// putCRL installs the list in the body, DER, PEM or base64. With an empty body
// the CA is asked for its newest one.
func (m *manager) putCRL(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCRL))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	if len(body) == 0 {
		changed, err := m.lists.Refresh(r.Context())
		if err != nil {
			refuse(w, http.StatusBadGateway, err)
			return
		}
		answer(w, http.StatusOK, map[string]bool{"changed": changed})
		return
	}
	list, err := crl.NewIndex(body) // which leaves a million entries unread
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	changed, err := m.list.Install(list.Head())
	switch {
	case errors.Is(err, crl.ErrRollback):
		refuse(w, http.StatusConflict, err)
		return
	case errors.As(err, new(*fs.PathError)), errors.As(err, new(*os.LinkError)):
		refuse(w, http.StatusServiceUnavailable, err)
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, err)
		return
	}
	// Even if nothing changed: the reload after an earlier try may have
	// failed.
	if err := m.reloader.Reload(r.Context()); err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	answer(w, http.StatusOK, map[string]bool{"changed": changed})
}

// health asks the broker itself: it must answer, and refuse what it must. What
// only keeps news from it, as a Kafka that is away, is no failure: a manager
// that is started anew for that would take the broker along.
func (m *manager) health(w http.ResponseWriter, r *http.Request, events dojotkafka.Stats) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	problems := []string{}
	if err := m.probe.Verdict(ctx); err != nil {
		problems = append(problems, "broker: "+err.Error())
	}
	if err := m.list.Check(time.Now()); err != nil {
		problems = append(problems, "revocation list: "+err.Error())
	}
	if err := m.check(); err != nil { // no change reaches the broker then
		problems = append(problems, "files: "+err.Error())
	}
	if findings, err := m.findings(); err == nil {
		for _, f := range findings {
			if slices.Contains(clientsDecide, f.ID) { // which are not among those
				problems = append(problems, f.String())
			}
		}
	}
	status, word := http.StatusOK, "ok"
	if len(problems) > 0 {
		status, word = http.StatusServiceUnavailable, "failing"
	}
	if since := events.Unreachable; !since.IsZero() {
		problems = append(problems, "kafka: not reachable since "+since.UTC().Format(time.RFC3339))
		if status == http.StatusOK {
			word = "degraded"
		}
	}
	users := 0
	m.acl.View(func(f *acl.File) {
		for range f.Users() {
			users++
		}
	})
	answer(w, status, map[string]any{
		"status":   word,
		"problems": problems,
		"broker":   m.version,
		"users":    users,
		"reloads":  m.reloader.Reloads(),
		"events":   events,
	})
}
