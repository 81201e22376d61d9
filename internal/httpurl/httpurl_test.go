package httpurl_test

import (
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/httpurl"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		raw, want string // the error; "" for none
	}{
		{"http://ejbca:5583", ""},
		{"HTTPS://dojot.example.com/x/", ""},
		{"http://u:secret@[::1]:80/x?y=z", ""},
		{"", `""`},
		{":", `":"`},
		{"http://", `"http://"`},
		{"ejbca:5583", `"ejbca:5583"`},
		{"/ca.crl", `"/ca.crl"`},
		{"ldap://host", `"ldap://host"`},
		{"ftp://u:secret@h", `"…@h"`},
		{"u:secret@h:1", `"…@h:1"`},
		{"http://u:sec ret@h", `"http://…@h"`},
		{"http://u:secret%@h/x", `"http://…@h/x"`},
		{"http://u:sec/ret@h", `"http://…@h"`},
		{"http://h:x?secret", `"http://h:x"`},
		{"http://h\x1b[2J", `"http://h\x1b[2J"`},
	} {
		u, err := httpurl.Parse(tc.raw)
		if tc.want == "" {
			if err != nil || u.Host == "" {
				t.Errorf("%s: got %v, %v", tc.raw, u, err)
			}
			continue
		}
		if want := tc.want + " (want http://host:port or https://…)"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", tc.raw, err, want)
		}
	}
}

func TestShown(t *testing.T) {
	for raw, want := range map[string]string{
		"":                              "",
		"http://ejbca:5583/x":           "http://ejbca:5583/x",
		"http://u@h/x":                  "http://…@h/x",
		"http://u:se@cret@h/x":          "http://…@h/x",
		"http:u:secret@h":               "…@h",
		"http:///u:secret@h":            "http://…@h",
		"u:sec://ret@h":                 "…@h",
		"http://h/x?token=secret":       "http://h/x",
		"http://h/x#secret?":            "http://h/x",
		"http://u:secret@h/x?y=secret":  "http://…@h/x",
		"http://u:sec?ret@h/x":          "http://…",
		"http://h/x?token=sec@ret":      "http://…",
		"http://u:sec#ret@h/x?t=secret": "http://…",
	} {
		if got := httpurl.Shown(raw); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

// Whatever a password or a token consists of, none of it is shown.
func FuzzShown(f *testing.F) {
	for _, secret := range []string{"", "x", "a:b", "12/3", "://", "a@b", "?@#", "%", " \n\xff"} {
		f.Add(secret)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		for raw, want := range map[string]string{
			"http://u:" + secret + "@h/x": "http://…@h/x",
			"u:" + secret + "@h/x":        "…@h/x",
			"http://h/x?t=" + secret:      "http://h/x",
			"http://h/x#" + secret:        "http://h/x",
		} {
			// With a ? and an @ there is no telling where the secret is.
			if got := httpurl.Shown(raw); got != want && got != "http://…" && got != "…" {
				t.Errorf("%q is shown as %q, want %q", raw, got, want)
			}
			if u, err := httpurl.Parse(raw); err == nil && u.Host == "" {
				t.Errorf("%q has no host", raw)
			}
		}
	})
}
