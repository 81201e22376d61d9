package provision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// next marks what is about to replace the file of the same name without it.
const next = ".next"

// part marks a file that is being written.
const part = ".part"

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
// rename. Nil stands for what stays. All are written beside the old ones, the
// certificate last: its being there says that the set is complete and decided,
// and whoever finds it finishes what was begun. From then on nothing is
// written, only renamed, so that a full disk cannot stop it half way. The
// certificate is renamed last, too.
func (e *ensuring) swap(chain, key, csr, cert []byte) error {
	data := map[string][]byte{e.Files.CA: chain, e.Files.Key: key, e.Files.CSR: csr, e.Files.Cert: cert}
	for _, path := range e.Files.set() {
		if data[path] == nil {
			continue
		}
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			return errors.Join(&fs.PathError{Op: "replace", Path: path, Err: errors.New("is a directory")}, e.discard())
		}
		mode := e.certMode()
		if path == e.Files.Key {
			mode = e.keyMode()
		}
		if err := e.write(e.Files.nextOf(path), data[path], mode); err != nil {
			return errors.Join(err, e.discard())
		}
	}
	return e.finish()
}

// takeUp finishes a swap that was decided, or clears away one that was not. It
// does neither when it cannot tell, because a file cannot be read just now.
func (e *ensuring) takeUp() error {
	_, err := e.Files.nextPair()
	if errors.As(err, new(*fs.PathError)) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return e.discard()
	}
	if err := e.change(); err != nil {
		return err
	}
	return e.finish()
}

// finish does the renames that are left to do. If one cannot be done, because
// a file is immutable, say, or a mount point, those before it are undone: the
// old set stays in service, and the new one beside it.
func (e *ensuring) finish() error {
	var dirs []string
	var undo []func() error
	for _, path := range e.Files.set() {
		undoThis, err := e.replace(path, e.Files.nextOf(path))
		if err != nil {
			for _, undo := range slices.Backward(undo) {
				err = errors.Join(err, undo())
			}
			return err
		}
		undo = append(undo, undoThis)
		if dir := filepath.Dir(path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, durable.SyncDir(dir))
	}
	return errors.Join(errs...)
}

// replace renames a file, if it is there, and returns how both can be had back.
// In the meantime there is always one at path.
func (e *ensuring) replace(path, next string) (undo func() error, err error) {
	undoNext, err := e.remember(next)
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	undoPath, err := e.remember(path)
	if errors.Is(err, fs.ErrNotExist) {
		undoPath, err = func() error { return os.Remove(path) }, nil
	}
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(undoNext(), undoPath()) }, os.Rename(next, path)
}

// remember returns how to have a file back as it is now.
func (e *ensuring) remember(path string) (undo func() error, err error) {
	data, err := readFile(path, func(data []byte) ([]byte, error) { return data, nil })
	if err != nil {
		return nil, err
	}
	attr, err := durable.AttrOf(path)
	if err != nil {
		return nil, err
	}
	attr.Temp = e.temp(path)
	return func() error { return durable.WriteFile(path, data, attr) }, nil
}

// discard removes what a swap that came to nothing left, the certificate
// first, and writes that were cut short.
func (e *ensuring) discard() error {
	var errs []error
	for _, path := range slices.Backward(e.Files.set()) {
		beside := e.Files.nextOf(path)
		for _, leftover := range []string{beside, beside + part, path + part} {
			if _, err := os.Lstat(leftover); errors.Is(err, fs.ErrNotExist) {
				continue // which is cheap, and a vain removal locks the folder
			}
			errs = append(errs, os.Remove(leftover))
		}
	}
	return errors.Join(errs...)
}
