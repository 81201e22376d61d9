package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// Owed remembers, in a file, the users that are being removed and that the CA
// has yet to hear of: once their rules are gone, nothing else tells a device
// that was from an end entity that is none of ours.
type Owed struct {
	path string

	mu    sync.Mutex
	users map[string]Device // whose they were
}

// OpenOwed reads what is owed since an earlier run. The file need not be there.
func OpenOwed(path string) (*Owed, error) {
	o := &Owed{path: path, users: map[string]Device{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &o.users); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

// of returns whose user it was, if it is owed.
func (o *Owed) of(user string) (d Device, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok = o.users[user]
	return d, ok
}

func (o *Owed) add(users map[string]Device) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	changed := false
	for user, d := range users {
		if old, ok := o.users[user]; !ok || old != d {
			o.users[user], changed = d, true
		}
	}
	return o.save(changed)
}

func (o *Owed) done(users []string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.users)
	for _, user := range users {
		delete(o.users, user)
	}
	return o.save(len(o.users) != before)
}

func (o *Owed) save(changed bool) error {
	if !changed {
		return nil
	}
	text, err := json.Marshal(o.users)
	if err != nil {
		return err
	}
	return durable.WriteFile(o.path, append(text, '\n'), durable.Attr{})
}
