package mosquitto

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// credential is what makes a process of root's one of the named user, with all
// groups of that user, as mosquitto would have it. It is nil where there is
// nothing to change, or nothing can be.
func credential(name string) (*syscall.Credential, error) {
	if name == "" || os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	if u.Uid == "0" {
		return nil, nil
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("the groups of %s: %w", name, err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	err = errors.Join(err1, err2)
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, text := range groups {
		id, errN := strconv.ParseUint(text, 10, 32)
		err = errors.Join(err, errN)
		c.Groups = append(c.Groups, uint32(id))
	}
	return c, err
}
