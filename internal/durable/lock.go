package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrLocked says that another process, or another part of this one, holds the
// file or folder.
var ErrLocked = errors.New("it is locked by somebody else")

// LockDir holds a folder until the returned lock is closed or the process
// ends. It is a lock among those who ask for it, on the folder itself: there
// is no file that a crash could leave. If somebody else holds it, that is
// ErrLocked, at once.
//
// BUG: on NFS, it holds among the processes of one machine only.
func LockDir(dir string) (lock io.Closer, err error) {
	return openLocked(dir, os.O_RDONLY|syscall.O_DIRECTORY)
}

// LockFile is LockDir for a file, which it makes if it is not there.
func LockFile(path string) (lock io.Closer, err error) {
	return openLocked(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW)
}

func openLocked(path string, flags int) (io.Closer, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(&fs.PathError{Op: "lock", Path: path, Err: err}, f.Close())
}
