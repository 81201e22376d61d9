package mosquitto_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/provision"
)

// reissue gives the broker another certificate, which it has yet to read.
func (r *rig) reissue(server *ejbcatest.Server, dns string) {
	r.t.Helper()
	id := provision.Identity{CommonName: "mosquitto", DNSNames: []string{dns}, Files: provision.BrokerFiles(r.dir), Overwrite: true}
	if _, err := id.Ensure(r.t.Context(), &ejbca.Issuer{Client: server.Client(), User: "mosquitto", Register: true}); err != nil {
		r.t.Fatal(err)
	}
}

// A certificate that clients refuse must keep the broker neither from other
// rules nor from a better certificate, and is told of where a verdict is asked.
func TestReloadWithBadCertificate(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*rig)
	}{
		{"expired", func(r *rig) {
			now := r.probe.TLS
			r.probe.TLS = func() (*tls.Config, error) {
				config, err := now()
				if err == nil {
					config.Time = func() time.Time { return time.Now().AddDate(20, 0, 0) }
				}
				return config, err
			}
			r.t.Cleanup(func() { r.probe.TLS = now })
		}},
		{"of another name", func(r *rig) { r.reissue(r.server, "elsewhere") }},
		{"of another CA", func(r *rig) {
			server := ejbcatest.NewServer()
			r.t.Cleanup(server.Close)
			r.reissue(server, "localhost")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			ctx := r.start()
			reloader := r.reloader(r.child, fit)
			if err := reloader.Reload(ctx); err != nil {
				t.Fatal(err)
			}
			client := r.device("d1")
			good := r.probe.TLS
			tc.spoil(r)
			r.writeACL(mayPublish("d1"))
			if err := reloader.Reload(ctx); err != nil {
				t.Fatal(err)
			}
			if err := client.Publish(ctx, "data", nil, 1, false); err != nil {
				t.Errorf("granted: got %v", err)
			}
			var refused *mosquitto.RefusedError
			var distrusted *mosquitto.DistrustedError
			err := r.probe.Verdict(ctx)
			if !errors.As(err, &refused) && !errors.As(err, &distrusted) {
				t.Errorf("got %v, want a *RefusedError or a *DistrustedError", err)
			}
			r.writeACL(mayPublish("d2"))
			if err := reloader.Reload(ctx); err != nil {
				t.Fatal(err)
			}
			if err := client.Publish(ctx, "data", nil, 1, false); !errors.Is(err, mqttclient.ErrNotAuthorized) {
				t.Errorf("withdrawn: got %v, want %v", err, mqttclient.ErrNotAuthorized)
			}

			r.probe.TLS = good
			r.reissue(r.server, "localhost")
			const complaint = "reloaded, but clients cannot use the broker"
			complaints := r.log.count(complaint)
			if err := reloader.Reload(ctx); err != nil {
				t.Fatal(err)
			}
			if err := r.probe.Verdict(ctx); err != nil {
				t.Errorf("with a good certificate again: %v", err)
			}
			if r.log.count(complaint) > complaints {
				t.Error("the log speaks of a certificate that is no longer there")
			}
		})
	}
}
