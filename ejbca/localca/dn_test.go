package localca

import (
	"slices"
	"testing"
)

func TestParseDN(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"one", "CN=admin:5c6512", "CN=admin:5c6512"},
		{"any order, case and blanks", "c=SE, O = EJBCA IOT ,cn=IOTmidCA", "CN=IOTmidCA,O=EJBCA IOT,C=SE"},
		{"escaped comma", `CN=a\,O\=b`, `CN=a\,O=b`},
		{"escaped blanks at the edges", `CN=\ a\ `, `CN=\ a\ `},
		{"value with equals sign", "CN=a=b", "CN=a=b"},
		{"beyond ASCII", "CN=gerät", "CN=gerät"},
		{"empty value", "CN=", "CN="},
		{"empty", "", ""},
		{"no type", "a", ""},
		{"unknown type", "X=a", ""},
		{"second type missing", "CN=a,", ""},
		{"bare plus", "CN=a+O=b", ""},
		{"bare quote", `CN="a"`, ""},
		{"backslash at the end", `CN=a\`, ""},
		{"escaped letter", `CN=\a`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dn, err := parseDN(tc.in)
			if err != nil {
				if tc.want != "" {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				return
			}
			if got := formatDN(dn); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzDN(f *testing.F) {
	for _, s := range []string{"CN=a", `CN=a\, b,O=\#x\ ,C=SE`, "c=SE,cn=x", `CN=\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		dn, err := parseDN(s)
		if err != nil {
			return
		}
		again, err := parseDN(formatDN(dn))
		if err != nil || !slices.Equal(dn, again) {
			t.Errorf("%q is %q, which is %q, %v", s, dn, again, err)
		}
	})
}
