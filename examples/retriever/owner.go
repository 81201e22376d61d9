package main

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/dojot/mqtt-manager-go/provision"
)

// parseOwner reads USER, USER:GROUP or :GROUP, by name or number. A group that
// is named may read keys, as that is all it can be named for: whatever else
// there is everybody may read.
func parseOwner(text string) (owner *provision.Owner, keyMode fs.FileMode, err error) {
	owner, keyMode = &provision.Owner{UID: os.Geteuid(), GID: os.Getegid()}, 0o600
	name, group, hasGroup := strings.Cut(text, ":")
	if hasGroup && group == "" || text == "" {
		return nil, 0, errors.New("want USER, USER:GROUP or :GROUP")
	}
	if name != "" {
		owner.UID, err = number(name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	if hasGroup {
		keyMode = 0o640
		owner.GID, err = number(group, func() (string, error) {
			g, err := user.LookupGroup(group)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
	}
	return owner, keyMode, err
}

// number is that of a user or group, who need not have a name.
func number(name string, lookup func() (string, error)) (int, error) {
	if id, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(id), nil
	}
	id, err := lookup()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}
