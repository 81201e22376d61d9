package provision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

const (
	// next marks what is about to replace the file of the same name without it.
	next = ".next"
	// replaced marks, behind next, what has been replaced, until the whole set
	// has been.
	replaced = ".replaced"
	// part marks a file that is being written.
	part = ".part"
)

// nextOf is what is about to replace a file of the identity. The CA's may be
// shared with others, so there it has the certificate's name in it.
func (f Files) nextOf(path string) string {
	if path == f.CA {
		path += "." + filepath.Base(f.Cert)
	}
	return path + next
}

// set is what changes together, in the order in which it is written and then
// renamed.
func (f Files) set() []string { return []string{f.CA, f.Key, f.CSR, f.Cert} }

// swap replaces CA chain, key, request and certificate as a set, as if by one
// rename. A nil chain stays, and so do key and request if no others are
// pending. What is new is written beside the old, the certificate last: its
// being there says that the set is complete and decided, and whoever finds it
// finishes what was begun. The certificate is renamed last, too.
func (e *ensuring) swap(chain, cert []byte) error {
	if chain != nil {
		if err := e.writeNext(e.Files.CA, chain, e.certMode()); err != nil {
			return err
		}
	}
	if err := e.writeNext(e.Files.Cert, cert, e.certMode()); err != nil {
		return errors.Join(err, e.discard())
	}
	return e.finish()
}

// takeUp finishes a swap that was decided, or clears away one that was not. It
// does neither when it cannot tell, because a file cannot be read just now.
func (e *ensuring) takeUp() error {
	_, err := e.Files.nextPair()
	if isUnreadable(err) {
		return err
	}
	if err != nil {
		return e.discard()
	}
	return e.finish()
}

// finish does the renames that are left to do. If one cannot be done, because
// a file is immutable, say, or a mount point, those before it are undone: the
// old set stays in service, and the new one beside it. Nothing is written on
// the way there or back, so a full disk cannot come between; nor can a crash,
// as the old files are there until the new ones are all in place.
func (e *ensuring) finish() error {
	if err := e.change(); err != nil {
		return err
	}
	var done []string
	for _, path := range e.Files.set() {
		did, err := replace(path, e.Files.nextOf(path))
		if err != nil {
			for _, path := range slices.Backward(done) {
				err = errors.Join(err, undo(path, e.Files.nextOf(path)))
			}
			return errors.Join(err, e.syncDirs())
		}
		if did {
			done = append(done, path)
		}
	}
	return errors.Join(e.syncDirs(), e.discard())
}

// replace renames next to path and keeps what was there. It reports whether
// that is done, be it by an earlier call; a next that was never there is not.
func replace(path, next string) (done bool, err error) {
	old := next + replaced
	if _, err := os.Lstat(next); errors.Is(err, fs.ErrNotExist) {
		return exists(old), nil
	} else if err != nil {
		return false, err
	}
	// An earlier call may have come this far, or been at undoing it; path may
	// be the new one then.
	if !exists(old) {
		if err := setAside(path, old); err != nil {
			return false, err
		}
	}
	if err := os.Rename(next, path); err != nil {
		return false, errors.Join(err, giveBack(path, old))
	}
	// Which did nothing if an undo had made both names of one file.
	return true, removeAll([]string{next})
}

// undo is the reverse of replace.
func undo(path, next string) error {
	old := next + replaced
	if !exists(old) { // there was none
		return os.Rename(path, next)
	}
	if err := os.Link(path, next); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(path, next); err != nil {
			return err
		}
	}
	return giveBack(path, old)
}

// setAside gives a file, if there is one, a second name. Where that cannot be,
// because of the file system, or whose the file is, it gets another.
func setAside(path, old string) error {
	err := os.Link(path, old)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.Rename(path, old)
}

// giveBack is the reverse of setAside, whether or not path is there.
func giveBack(path, old string) error {
	if err := os.Rename(old, path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// Which does nothing if both are names of one file.
	if err := os.Remove(old); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (e *ensuring) syncDirs() error {
	var errs []error
	var synced []string
	for _, path := range e.Files.set() {
		if dir := filepath.Dir(path); !slices.Contains(synced, dir) {
			synced = append(synced, dir)
			errs = append(errs, durable.SyncDir(dir))
		}
	}
	return errors.Join(errs...)
}

// discard removes what a swap left, the certificate first, and writes that
// were cut short; but not a key that may have been signed already, and its
// request. Call it only when no swap is decided.
func (e *ensuring) discard() error {
	var leftovers []string
	for _, path := range slices.Backward(e.Files.set()) {
		beside := e.Files.nextOf(path)
		if path == e.Files.Cert || path == e.Files.CA {
			leftovers = append(leftovers, beside)
		}
		leftovers = append(leftovers, beside+part, path+part)
		if exists(path) { // else it may be the only one
			leftovers = append(leftovers, beside+replaced)
		}
	}
	return removeAll(leftovers)
}

// discardPending removes a key that waits for its certificate, and its request.
func (e *ensuring) discardPending() error {
	return removeAll([]string{e.Files.nextOf(e.Files.CSR), e.Files.nextOf(e.Files.Key)})
}

func removeAll(paths []string) error {
	var errs []error
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue // which is cheap, and a vain removal locks the folder
		}
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}
