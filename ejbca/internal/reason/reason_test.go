package reason_test

import (
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca/internal/reason"
)

func TestNames(t *testing.T) {
	// EJBCA-REST's table, by RFC 5280's codes.
	want := map[crl.Reason]string{
		0: "UNSPECIFIED", 1: "KEYCOMPROMISE", 2: "CACOMPROMISE", 3: "AFFILIATIONCHANGED", 4: "SUPERSEDED",
		5: "CESSATIONOFOPERATION", 6: "CERTIFICATEHOLD", 8: "REMOVEFROMCRL", 9: "PRIVILEGESWITHDRAWN", 10: "AACOMPROMISE",
	}
	for r := crl.Reason(-1); r <= 11; r++ {
		name, ok := reason.Name(r)
		if name != want[r] || ok != (want[r] != "") {
			t.Errorf("%d: got %q, %v, want %q", int(r), name, ok, want[r])
		}
		if !ok {
			continue
		}
		if back, ok := reason.Parse(name); back != r || !ok {
			t.Errorf("%s: got %v, %v, want %v", name, back, ok, r)
		}
		if !strings.Contains(reason.Known(), name) {
			t.Errorf("%s isn't listed", name)
		}
	}
	for _, name := range []string{"", "keyCompromise", "NOTREVOKED", "PRIVILEGEWITHDRAWN"} {
		if r, ok := reason.Parse(name); ok {
			t.Errorf("%q is %v", name, r)
		}
	}
}
