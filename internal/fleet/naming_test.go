package fleet_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
)

func classic(t *testing.T) *fleet.Naming {
	t.Helper()
	return naming(t, "{id}", "write /{tenant}/{id}/attrs")
}

func tenantID(t *testing.T) *fleet.Naming {
	t.Helper()
	return naming(t, "{tenant}:{id}", "write {tenant}:{id}/attrs", "read {tenant}:{id}/config")
}

func naming(t *testing.T, user string, rules ...string) *fleet.Naming {
	t.Helper()
	n, err := fleet.NewNaming(user, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNaming(t *testing.T) {
	device := fleet.Device{Tenant: "admin", ID: "24f6"}
	for _, tc := range []struct {
		name   string
		naming *fleet.Naming
		user   string
		rules  []acl.Rule
	}{
		{"classic", classic(t), "24f6", []acl.Rule{{Access: acl.Write, Topic: "/admin/24f6/attrs"}}},
		{"tenant-id", tenantID(t), "admin:24f6", []acl.Rule{
			{Access: acl.Write, Topic: "admin:24f6/attrs"}, {Access: acl.Read, Topic: "admin:24f6/config"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.naming.User(device); got != tc.user {
				t.Errorf("user: got %q, want %q", got, tc.user)
			}
			rules := tc.naming.Rules(device)
			if diff := cmp.Diff(tc.rules, rules); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if got, ok := tc.naming.Owner(tc.user, rules); !ok || got != device {
				t.Errorf("owner: got %v, %v, want %v", got, ok, device)
			}
		})
	}
}

func TestTemplatesThatCouldShareRights(t *testing.T) {
	for _, tc := range []struct {
		name  string
		user  string
		rules []string
		want  string
	}{
		{"user without id", "{tenant}", []string{"write /{tenant}/{id}/attrs"}, "{id}"},
		{"rule without id", "{id}", []string{"write /{tenant}/attrs"}, "{id}"},
		{"nothing names the tenant", "{id}", []string{"write /{id}/attrs"}, "{tenant}"},
		{"no separator", "{tenant}{id}", []string{"write /{tenant}/{id}/attrs"}, "separator"},
		{"place twice", "{id}", []string{"write /{tenant}/{id}/{id}"}, "twice"},
		{"unknown place", "{id}", []string{"write /{service}/{id}/attrs"}, "{service}"},
		{"no rule", "{id}", nil, "rule"},
		{"no access", "{id}", []string{"/{tenant}/{id}/attrs"}, "access"},
		{"unknown access", "{id}", []string{"publish /{tenant}/{id}/attrs"}, "publish"},
		{"line break", "{id}\ntopic readwrite #", []string{"write /{tenant}/{id}/attrs"}, "control"},
		{"line break in a rule", "{id}", []string{"write /{tenant}/{id}\ntopic readwrite #"}, "control"},
		{"NUL", "{id}", []string{"write /{tenant}/{id}\x00"}, "control"},
		{"not a filter", "{id}", []string{"write /{tenant}/{id}/#/x"}, "#"},
		{"blank at the end", "{id} ", []string{"write /{tenant}/{id}"}, "blank"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := fleet.NewNaming(tc.user, tc.rules...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestHostileIdentifiers(t *testing.T) {
	for _, bad := range []string{
		"", ".", "..", "a\u200bb", "\u202ea", "\ufeffa", "a\u2028b", "a\u00adb", "a\nb", "a\rb", "a\x00b", "a\tb", "a\u0085b", "a\x7f", "+", "a+", "#", "a/b", "/", " a", "a ", "\u00a0a",
		"\xff", "$SYS", strings.Repeat("x", 256), "x\ntopic readwrite #\nuser y",
	} {
		for _, tc := range []struct {
			field  string
			device fleet.Device
		}{
			{"tenant", fleet.Device{Tenant: bad, ID: "24f6"}},
			{"device id", fleet.Device{Tenant: "admin", ID: bad}},
		} {
			err := classic(t).Check(tc.device)
			var field *fleet.FieldError
			if !errors.As(err, &field) || field.Field != tc.field {
				t.Errorf("%s %q: got %v, want a FieldError that names it", tc.field, bad, err)
			}
		}
	}
	for _, good := range []fleet.Device{{"admin", "24f6"}, {"t_1", "123e4567-e89b-12d3"}, {"a b", "ü"}, {"{id}", "{tenant}"}, {"a:b", "c:d"}} {
		if err := classic(t).Check(good); err != nil {
			t.Errorf("%v: got %v", good, err)
		}
	}
}

// What makes two names one at the CA, or does not fit a certificate.
func TestHostileUserNames(t *testing.T) {
	for _, id := range []string{"a;b", "a!b", "a%b", "a?b", "a~b", "a<b", "a`b", strings.Repeat("x", 65)} {
		err := classic(t).Check(fleet.Device{Tenant: "admin", ID: id})
		var field *fleet.FieldError
		if !errors.As(err, &field) || field.Field != "user name" {
			t.Errorf("%q: got %v, want a FieldError about the user name", id, err)
		}
		// In a tenant it does no harm, as long as that is no part of the name.
		if len(id) < 64 && classic(t).Check(fleet.Device{Tenant: id, ID: "24f6"}) != nil {
			t.Errorf("tenant %q is refused", id)
		}
	}
	if err := classic(t).Check(fleet.Device{Tenant: "admin", ID: strings.Repeat("ü", 64)}); err != nil {
		t.Errorf("64 characters: %v", err)
	}
}

// Two devices must never be called the same, whatever their names hold.
func TestSeparatorInIdentifier(t *testing.T) {
	n := tenantID(t)
	a, b := fleet.Device{Tenant: "a:b", ID: "c"}, fleet.Device{Tenant: "a", ID: "b:c"}
	if n.User(a) != n.User(b) {
		t.Fatal("these are meant to collide")
	}
	if err := n.Check(a); err == nil {
		t.Errorf("%v is accepted beside %v", a, b)
	}
	if err := n.Check(b); err != nil {
		t.Errorf("%v: %v", b, err)
	}
	if d, ok := n.Owner(n.User(b), n.Rules(b)); !ok || d != b {
		t.Errorf("owner: got %v, %v, want %v", d, ok, b)
	}
}

func TestOwnerOfWhatIsNoDevice(t *testing.T) {
	for _, tc := range []struct {
		name string
		user string
		rule acl.Rule
	}{
		{"the agent", "iotagent", acl.Rule{Access: acl.Read, Topic: "/#"}},
		{"another id in the topic", "24f6", acl.Rule{Access: acl.Write, Topic: "/admin/24f7/attrs"}},
		{"a wildcard for the tenant", "24f6", acl.Rule{Access: acl.Write, Topic: "/+/24f6/attrs"}},
		{"a level more", "24f6", acl.Rule{Access: acl.Write, Topic: "/a/b/24f6/attrs"}},
	} {
		if d, ok := classic(t).Owner(tc.user, []acl.Rule{tc.rule}); ok {
			t.Errorf("%s: got %v, want nobody", tc.name, d)
		}
	}
	// Rules of a changed template still tell the owner, as long as one is left.
	mixed := []acl.Rule{{Access: acl.Read, Topic: "/somewhere"}, {Access: acl.ReadWrite, Topic: "/admin/24f6/attrs"}}
	if d, ok := classic(t).Owner("24f6", mixed); !ok || d.Tenant != "admin" {
		t.Errorf("mixed rules: got %v, %v", d, ok)
	}
}

func FuzzOwner(f *testing.F) {
	f.Add("admin", "24f6")
	f.Add("a:b", "c")
	f.Add("{id}", "{tenant}")
	user, rule := "{tenant}:{id}", "write {tenant}:{id}/attrs"
	conventions := []*fleet.Naming{}
	for _, n := range [][]string{{"{id}", "write /{tenant}/{id}/attrs"}, {user, rule}, {"{id}@{tenant}", "read x/{id}/{tenant}"}} {
		naming, err := fleet.NewNaming(n[0], n[1])
		if err != nil {
			f.Fatal(err)
		}
		conventions = append(conventions, naming)
	}
	f.Fuzz(func(t *testing.T, tenant, id string) {
		d := fleet.Device{Tenant: tenant, ID: id}
		for i, n := range conventions {
			if n.Check(d) != nil {
				continue
			}
			if got, ok := n.Owner(n.User(d), n.Rules(d)); !ok || got != d {
				t.Errorf("convention %d: %q came back as %q, %v", i, d, got, ok)
			}
		}
	})
}
