package provision_test

import (
	"errors"
	"testing"

	"github.com/dojot/mqtt-manager-go/provision"
)

// A name must not look like another, or like none.
func TestCheckNameOfWhatIsNotSeen(t *testing.T) {
	for _, name := range []string{"a\u202e6f42", "\ufeff24f6", "24\u200bf6", "24f6\u00ad", "24\u007ff6", "24\u0085f6"} {
		var field *provision.FieldError
		if err := provision.CheckName("device", name); !errors.As(err, &field) || field.Value != name {
			t.Errorf("%+q: got %v, want a FieldError", name, err)
		}
	}
}
