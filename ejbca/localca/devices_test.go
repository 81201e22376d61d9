package localca_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// event does what device-manager's message asks for.
func event(t *testing.T, d *localca.Devices, kind, tenant, id string) error {
	t.Helper()
	e, err := dojotevents.Decode(fmt.Appendf(nil, `{"event":%q,"meta":{"service":%q},"data":{"id":%q}}`, kind, tenant, id))
	if err != nil {
		t.Fatal(err)
	}
	return d.Apply(t.Context(), string(e.Kind), e.Tenant, e.DeviceID)
}

func TestDevices(t *testing.T) {
	for _, tc := range []struct {
		name         string
		tenantInName bool
		user         string
	}{
		{"id", false, "5c6512"},
		{"tenant and id", true, "admin:5c6512"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, newDir(t), localca.Options{})
			d := &localca.Devices{CA: s.ca, TenantInName: tc.tenantInName, Password: "secret"}
			do := func(kind string) {
				t.Helper()
				if err := event(t, d, kind, "admin", "5c6512"); err != nil {
					t.Fatal(err)
				}
			}
			do("create")
			do("create") // dojot.module repeats them
			status, text := s.sign(tc.user, newRequest(t, keys()[0], nil))
			cert := s.certificate(status, text)
			if got := cert.Subject.String(); got != "CN="+tc.user {
				t.Errorf("subject %s", got)
			}
			do("update")
			do("configure")
			if status, text := s.sign(tc.user, newRequest(t, keys()[0], nil)); status != 400 || !strings.Contains(text, "GENERATED (40)") {
				t.Errorf("enrolling again after an update: got %d %s", status, text)
			}
			// An edit by request doesn't hide it from later events.
			s.register(tc.user)
			do("remove")
			do("removed") // by another name, and once more
			if got, want := serials(s.crl(time.Now())), fmt.Sprintf("%x:0", cert.SerialNumber); got != want {
				t.Errorf("CRL has %q, want %q", got, want)
			}
			if status, text := s.ask("GET", "/user/"+tc.user, ""); status != 404 {
				t.Errorf("removed device: got %d %s", status, text)
			}
			do("create")
			status, text = s.sign(tc.user, newRequest(t, keys()[0], nil))
			s.certificate(status, text)
		})
	}
}

func TestForeignDevices(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	s.register("mosquitto")
	s.register("admin:1234")
	bare := &localca.Devices{CA: s.ca}
	named := &localca.Devices{CA: s.ca, TenantInName: true}
	if err := event(t, bare, "create", "admin", "8fa3"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name             string
		d                *localca.Devices
		kind, tenant, id string
		want             string
	}{
		{"another tenant's id", bare, "create", "other", "8fa3", `end entity "8fa3" is a device's of tenant "admin"`},
		{"another tenant's id, removed", bare, "remove", "other", "8fa3", `is a device's of tenant "admin"`},
		{"the broker's name", bare, "update", "admin", "mosquitto", "was made by a request"},
		{"the broker's name, removed", bare, "remove", "admin", "mosquitto", "was made by a request"},
		{"the tenant's colon", named, "remove", "a", "b:1234", "a colon in the id"},
		{"line break", bare, "create", "admin", "a\nb", "isn't printable"},
		{"line break in the tenant", named, "create", "a\nb", "1234", "isn't printable"},
		{"path", bare, "create", "admin", "..", "can't be part of an address"},
		{"EJBCA's forbidden characters", bare, "create", "admin", "a;b", "EJBCA doesn't allow"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := event(t, tc.d, tc.kind, tc.tenant, tc.id)
			if !errors.Is(err, localca.ErrIdentity) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrIdentity: %s", err, tc.want)
			}
		})
	}
	for _, ids := range [][2]string{{"", "1234"}, {"admin", ""}} {
		if err := named.Apply(t.Context(), "remove", ids[0], ids[1]); !errors.Is(err, localca.ErrIdentity) {
			t.Errorf("tenant %q, id %q: got %v, want ErrIdentity", ids[0], ids[1], err)
		}
	}
	for _, user := range []string{"mosquitto", "admin:1234", "8fa3"} {
		s.must("GET", "/user/"+user, "", nil)
	}
	// A name that tells the tenant is that device's, whoever registered it.
	if err := event(t, named, "remove", "admin", "1234"); err != nil {
		t.Error(err)
	}
	if status, _ := s.ask("GET", "/user/admin:1234", ""); status != 404 {
		t.Errorf("got %d, want 404", status)
	}
	if err := event(t, &localca.Devices{CA: s.ca, Issuer: "x"}, "create", "admin", "1"); err == nil || errors.Is(err, localca.ErrIdentity) {
		t.Errorf("unknown issuer: got %v", err)
	}
	if got := fmt.Sprintf("%v %+v %#v", bare, *named, localca.Devices{Password: "sesame"}); strings.Contains(got, "sesame") {
		t.Errorf("printed as %s", got)
	}
}
