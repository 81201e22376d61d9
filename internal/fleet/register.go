package fleet

import (
	"context"
	"maps"
	"slices"

	"github.com/dojot/mqtt-manager-go/acl"
)

// telling is what the CA is to hear of one Apply. It holds the users, so that
// the ACL file and the CA hear of their changes in the same order.
type telling struct {
	*Fleet
	changes []Change
	users   []string          // of each change; "" if that is refused
	leaving map[string]Device // the users that the changes remove, and whose they are
	owed    map[string]bool   // the users of devices that were removed before
	unlock  func()
}

// prepare begins a telling, before the ACL file changes. Only who was one of
// our devices will be withdrawn: the CA has other end entities.
func (f *Fleet) prepare(ctx context.Context, changes []Change, users []string) (*telling, error) {
	unlock, err := f.changing.lock(ctx, users)
	if err != nil {
		return nil, err
	}
	t := &telling{Fleet: f, changes: changes, users: users, leaving: map[string]Device{}, owed: map[string]bool{}, unlock: unlock}
	f.Store.View(t.look)
	if err := f.Owed.add(t.leaving); err != nil {
		unlock()
		return nil, err
	}
	return t, nil
}

// look finds out who leaves, judging by the file before the changes.
func (t *telling) look(file *acl.File) {
	owners := map[string]Device{} // as far as the changes go; the zero Device is nobody
	for i, c := range t.changes {
		user := t.users[i]
		if user == "" {
			continue
		}
		owner, seen := owners[user]
		if !seen {
			rules := slices.Collect(file.Rules(user))
			var ok bool
			if owner, ok = t.Naming.Owner(user, rules); !ok && len(rules) > 0 {
				continue // it is no device's, and the change will be refused
			}
			// One whose rules are there has not been removed after all.
			gone, isOwed := t.Owed.of(user)
			t.owed[user] = isOwed && gone != owner
		}
		switch {
		case c.Remove && owner == c.Device:
			t.leaving[user] = owner
			owner = Device{}
		case !c.Remove && owner == Device{}:
			owner = c.Device
		}
		owners[user] = owner
	}
}

// tell tells the CA what became of each user, in as few calls as keep each
// user's changes in order: additions can be made side by side, and removals end
// in one revocation list.
func (t *telling) tell(ctx context.Context) error {
	var (
		phases    [][]string // of users to register, to withdraw, to register …
		last      = map[string]int{}
		withdrawn []string
	)
	add := func(user string, remove bool) {
		phase := last[user]
		if remove != (phase%2 == 1) {
			phase++
		}
		for len(phases) <= phase {
			phases = append(phases, nil)
		}
		last[user] = phase
		phases[phase] = append(phases[phase], user)
	}
	for i, c := range t.changes {
		user := t.users[i]
		if _, isOwed := t.Owed.of(user); user == "" || c.Remove && !isOwed {
			continue
		}
		if !c.Remove && t.owed[user] {
			// It comes back before its removal was told of, and may be another
			// device by now.
			add(user, true)
		}
		delete(t.owed, user)
		add(user, c.Remove)
	}
	for phase, users := range phases {
		if len(users) == 0 {
			continue
		}
		slices.Sort(users)
		users = slices.Compact(users)
		tell := t.Registrar.Register
		if phase%2 == 1 {
			tell = t.Registrar.Withdraw
			withdrawn = append(withdrawn, users...)
		}
		if err := tell(ctx, users...); err != nil {
			return err
		}
	}
	return t.Owed.done(slices.AppendSeq(withdrawn, maps.Keys(t.leaving)))
}
