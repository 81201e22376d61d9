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

// swap replaces key, request and certificate, and the CA's file if it has to
// change, as a set, as if by one rename. Nil stands for what stays. All but
// the CA's file, which others may share, are written beside the old ones, the
// certificate last: its being there says that the set is complete and decided,
// and whoever finds it finishes what was begun. The CA's file is next. From
// then on nothing is written, only renamed, so that a full disk cannot stop it
// half way. The certificate is renamed last, too.
func (e *ensuring) swap(key, csr, cert []byte) error {
	for _, f := range []struct {
		path string
		data []byte
		mode fs.FileMode
	}{{e.Files.Key, key, e.keyMode()}, {e.Files.CSR, csr, e.certMode()}, {e.Files.Cert, cert, e.certMode()}} {
		if f.data == nil {
			continue
		}
		if info, err := os.Lstat(f.path); err == nil && info.IsDir() {
			return errors.Join(&fs.PathError{Op: "replace", Path: f.path, Err: errors.New("is a directory")}, e.discard())
		}
		if err := e.write(f.path+next, f.data, f.mode); err != nil {
			return errors.Join(err, e.discard())
		}
	}
	if err := e.saveChain(); err != nil {
		return errors.Join(err, e.discard())
	}
	return e.finish()
}

// takeUp finishes a swap that was decided, or clears away one that was not.
func (e *ensuring) takeUp() error {
	if _, err := e.Files.nextPair(); err != nil {
		return e.discard()
	}
	if err := e.change(); err != nil {
		return err
	}
	return e.finish()
}

// finish does the renames that are left to do.
func (e *ensuring) finish() error {
	var dirs []string
	for _, path := range []string{e.Files.Key, e.Files.CSR, e.Files.Cert} {
		if err := os.Rename(path+next, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
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

// discard removes what a swap that came to nothing left, the certificate
// first, and writes that were cut short.
func (e *ensuring) discard() error {
	var errs []error
	for _, path := range []string{e.Files.Cert, e.Files.Key, e.Files.CSR} {
		for _, suffix := range []string{next, next + part, part} {
			if _, err := os.Lstat(path + suffix); errors.Is(err, fs.ErrNotExist) {
				continue // which is cheap, and a vain removal locks the folder
			}
			errs = append(errs, os.Remove(path+suffix))
		}
	}
	return errors.Join(errs...)
}
