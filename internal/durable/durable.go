// Package durable replaces files so that a crash leaves the old content or
// the new one, never a part of either, and so that content reported as
// written is still there after the power fails.
//
// The order of calls is the whole point: create a temporary file in the same
// folder, write, chown, chmod, fsync it, rename it over the target, fsync the
// folder. A file is private (0600) from its first byte until its content is
// complete, so a key is never readable by others, not even for an instant.
//
// BUG: on file systems that lie about fsync, so does this package.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Owner is the numeric owner and group of a file.
type Owner struct{ UID, GID int }

// Attr is what a file should look like to others. The zero Owner pointer
// leaves the file with the user and group of this process.
type Attr struct {
	Mode  fs.FileMode // permission bits; 0 means 0600
	Owner *Owner

	// Temp is the temporary file, in the same folder, for those who know that
	// nobody else writes the same file: one that a crash left is replaced.
	// Empty means one with a random name; see RemoveTemps.
	Temp string
}

// Apply gives a regular file that is there the mode, unless that is 0, and the
// owner. Where there is neither, it doesn't look for the file. It leaves what
// else has that name as it is, and follows no symbolic link: whoever may write
// to the folder could have any file of the system given away.
func (a Attr) Apply(path string) error {
	if a.Mode == 0 && a.Owner == nil {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || a.fits(info) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	if a.Owner != nil && !ownedBy(info, *a.Owner) {
		if err := f.Chown(a.Owner.UID, a.Owner.GID); err != nil {
			return err
		}
	}
	if a.Mode != 0 && info.Mode().Perm() != a.Mode {
		return f.Chmod(a.Mode)
	}
	return nil
}

// fits reports whether there is nothing to Apply.
func (a Attr) fits(info fs.FileInfo) bool {
	return (a.Owner == nil || ownedBy(info, *a.Owner)) && (a.Mode == 0 || info.Mode().Perm() == a.Mode)
}

// AttrOf returns the mode and owner of the file at path, to replace it with
// one that looks the same. A missing file is fs.ErrNotExist.
func AttrOf(path string) (Attr, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Attr{}, err
	}
	a := Attr{Mode: info.Mode().Perm()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		a.Owner = &Owner{UID: int(st.Uid), GID: int(st.Gid)}
	}
	return a, nil
}

// WriteFile replaces the file at path with data.
func WriteFile(path string, data []byte, a Attr) error {
	return Write(path, a, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// tempMark is in the name of each temporary file; it makes those that a crash
// left behind recognisable.
const tempMark = ".durable-"

// Write replaces the file at path with what write writes. If it fails, or
// write does, the file at path is what it was before.
//
// A folder that cannot be fsynced after the rename is an error too: the new
// content is in place, but may not survive a crash.
func Write(path string, a Attr, write func(io.Writer) error) (err error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	tmp, err := createTemp(dir, base, a.Temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(tmp.Close()), ignoreMissing(os.Remove(tmp.Name())))
		}
	}()
	if err := write(tmp); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	// Owner first: chown clears mode bits, and a file must not become
	// readable to others before it belongs to whom it should.
	if a.Owner != nil {
		info, err := tmp.Stat()
		if err != nil {
			return err
		}
		if !ownedBy(info, *a.Owner) {
			if err := tmp.Chown(a.Owner.UID, a.Owner.GID); err != nil {
				return fmt.Errorf("giving %s its owner: %w", path, err)
			}
		}
	}
	mode := a.Mode
	if mode == 0 {
		mode = 0o600
	}
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

func createTemp(dir, base, name string) (*os.File, error) {
	if name == "" {
		return os.CreateTemp(dir, base+tempMark+"*")
	}
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(name, flags, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	// Only then, as a vain removal locks the folder, too.
	if err := ignoreMissing(os.Remove(name)); err != nil {
		return nil, err
	}
	return os.OpenFile(name, flags, 0o600)
}

// ownedBy spares the chown that an unprivileged process could not do but does
// not need either.
func ownedBy(info fs.FileInfo, want Owner) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == want.UID && int(st.Gid) == want.GID
}

// MkdirAll makes a folder, and those above it that are missing, and makes
// their names durable: a file is not there when its folder isn't.
func MkdirAll(dir string, mode fs.FileMode) error {
	switch info, err := os.Stat(dir); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := MkdirAll(parent, mode); err != nil {
		return err
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// RemoveTemps removes the temporary files that an interrupted Write of path
// left beside it. Call it only where no Write of path can be running.
func RemoveTemps(path string) error {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	return RemoveTempsIn(dir, func(name string) bool { return name == base })
}

// RemoveTempsIn is RemoveTemps for all files in a folder whose names are of
// those, whether or not the files themselves are there.
func RemoveTempsIn(dir string, isOf func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreMissing(err)
	}
	var errs []error
	for _, e := range entries {
		if at := strings.LastIndex(e.Name(), tempMark); at > 0 && isOf(e.Name()[:at]) {
			errs = append(errs, ignoreMissing(os.Remove(filepath.Join(dir, e.Name()))))
		}
	}
	return errors.Join(errs...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
