package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	lock, err := durable.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.LockDir(dir); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("held: got %v, want ErrLocked", err)
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("it makes %q", got)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err = durable.LockDir(dir); err != nil {
		t.Fatalf("let go: %v", err)
	}
	lock.Close()
}

func TestLockDirOfWhatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if _, err := durable.LockDir(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.LockDir(file); err == nil {
		t.Error("a file is locked")
	}
}

func TestLockFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "lock"), filepath.Join(dir, "link")
	lock, err := durable.LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.LockFile(path); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("held: got %v, want ErrLocked", err)
	}
	if err := errors.Join(lock.Close(), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.LockFile(link); err == nil {
		t.Error("a link is followed")
	}
}
