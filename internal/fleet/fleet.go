package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dojot/mqtt-manager-go/acl"
)

// Registrar keeps the CA in step with the fleet. Its methods are idempotent.
type Registrar interface {
	// Register lets the users enrol. One that is registered already is left
	// alone, revoked or not.
	Register(ctx context.Context, users ...string) error
	// Withdraw revokes all certificates of the users and returns when the
	// broker refuses them. Unknown users are no error.
	Withdraw(ctx context.Context, users ...string) error
}

// Fleet applies device changes. It is safe for concurrent use.
type Fleet struct {
	Naming *Naming
	Store  *acl.Store
	// Reserved users belong to the platform; no device may be called so.
	Reserved []string
	// Registrar is nil where somebody else tells the CA.
	Registrar Registrar
	// Owed is what the Registrar has yet to be told; it goes with that.
	Owed *Owed

	changing locks
}

// A Change adds a device or removes it. Adding one that is there brings its
// rules up to date.
type Change struct {
	Device Device
	Remove bool
}

// ChangeError says why one change of several cannot be applied, however often
// it is tried.
type ChangeError struct {
	Index  int // in the changes given
	Device Device
	Err    error
}

func (e *ChangeError) Error() string { return fmt.Sprintf("device %s: %v", e.Device, e.Err) }
func (e *ChangeError) Unwrap() error { return e.Err }

// ErrTaken is wrapped by the error of a change to a user that belongs to
// somebody else.
var ErrTaken = errors.New("the user name is taken")

// Apply returns when the changes are durable, the broker works by them, and
// the CA knows. Changes that can never succeed come back as *ChangeError,
// joined, and the others are applied all the same. Any other error means that
// the whole call should be repeated.
func (f *Fleet) Apply(ctx context.Context, changes ...Change) error {
	var (
		refused []error
		edits   []acl.Change
		origin  []int // of each edit in changes
	)
	users := make([]string, len(changes))
	for i, c := range changes {
		user, err := f.userOf(c.Device)
		if err != nil {
			refused = append(refused, &ChangeError{i, c.Device, err})
			continue
		}
		users[i] = user
		edits = append(edits, f.edit(user, c))
		origin = append(origin, i)
	}
	var ca *telling
	if f.Registrar != nil {
		var err error
		if ca, err = f.prepare(ctx, changes, users); err != nil {
			return err
		}
		defer ca.unlock()
	}
	if len(edits) > 0 {
		err := f.Store.Apply(ctx, edits...)
		rejected, other := partition[*acl.ChangeError](err)
		if other != nil {
			return other
		}
		for _, r := range rejected {
			i := origin[r.Index]
			users[i] = ""
			refused = append(refused, &ChangeError{i, changes[i].Device, r.Err})
		}
	}
	if ca != nil {
		if err := ca.tell(ctx); err != nil {
			return err
		}
	}
	return errors.Join(refused...)
}

// userOf checks a device and names its user.
func (f *Fleet) userOf(d Device) (string, error) {
	if err := f.Naming.Check(d); err != nil {
		return "", err
	}
	user := f.Naming.User(d)
	if slices.Contains(f.Reserved, user) {
		return "", fmt.Errorf("%w: %q is the platform's own", ErrTaken, user)
	}
	return user, nil
}

// edit is the change of the ACL file, guarded: a user that another tenant's
// device holds, or that nobody's device does, is not ours to change.
func (f *Fleet) edit(user string, c Change) acl.Change {
	edit := acl.Change{User: user, Guard: func(current []acl.Rule) error {
		if len(current) == 0 {
			return nil
		}
		owner, ok := f.Naming.Owner(user, current)
		switch {
		case !ok:
			return fmt.Errorf("%w: %q has rules in the ACL file that are no device's", ErrTaken, user)
		case owner != c.Device:
			return fmt.Errorf("%w: %q is device %s, not %s", ErrTaken, user, owner, c.Device)
		}
		return nil
	}}
	if !c.Remove {
		edit.Rules = f.Naming.Rules(c.Device)
	}
	return edit
}

// ChangeErrors tells the changes that can never succeed from an error that is
// worth another try, in an error of Apply.
func ChangeErrors(err error) (refused []*ChangeError, other error) {
	return partition[*ChangeError](err)
}

// partition takes a joined error apart: those of type E, and the rest.
func partition[E error](err error) (these []E, rest error) {
	var this E
	if !errors.As(err, &this) {
		return nil, err
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []E{this}, nil
	}
	for _, e := range joined.Unwrap() {
		t, r := partition[E](e)
		these = append(these, t...)
		rest = errors.Join(rest, r)
	}
	return these, rest
}

// Devices calls yield for each device in the ACL file, in its order, with the
// name of its user, until it returns false.
func (f *Fleet) Devices(yield func(d Device, user string) bool) {
	f.Store.View(func(file *acl.File) {
		for user := range file.Users() {
			if d, ok := f.Naming.Owner(user, slices.Collect(file.Rules(user))); ok && !yield(d, user) {
				return
			}
		}
	})
}
