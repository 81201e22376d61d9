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

// swap replaces key, request and certificate as a set, as if by one rename.
// All are written beside the old ones, the certificate last: its being there
// says that the set is complete and decided, and whoever finds it finishes
// what was begun. From then on nothing is written, only renamed, so that a
// full disk cannot stop it half way. The certificate is renamed last, too.
func (e *ensuring) swap(key, csr, cert []byte) error {
	for _, f := range []struct {
		path string
		data []byte
		mode fs.FileMode
	}{{e.Files.Key, key, 0o600}, {e.Files.CSR, csr, 0o644}, {e.Files.Cert, cert, 0o644}} {
		if info, err := os.Lstat(f.path); err == nil && info.IsDir() {
			return errors.Join(&fs.PathError{Op: "replace", Path: f.path, Err: errors.New("is a directory")}, e.discard())
		}
		if err := e.write(f.path+next, f.data, f.mode); err != nil {
			return errors.Join(err, e.discard())
		}
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
// first. Where there was something, a write may have been cut short, too.
func (e *ensuring) discard() error {
	var errs []error
	interrupted := false
	for _, path := range []string{e.Files.Cert, e.Files.Key, e.Files.CSR} {
		switch err := os.Remove(path + next); {
		case err == nil:
			interrupted = true
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	if interrupted {
		errs = append(errs, durable.RemoveTemps(e.Files.Key), durable.RemoveTemps(e.Files.CSR), durable.RemoveTemps(e.Files.Cert))
	}
	return errors.Join(errs...)
}
