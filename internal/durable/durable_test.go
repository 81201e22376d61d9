package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFile(t *testing.T) {
	for _, tc := range []struct {
		name string
		attr durable.Attr
		want fs.FileMode
	}{
		{"private unless said otherwise", durable.Attr{}, 0o600},
		{"mode as asked, whatever the umask", durable.Attr{Mode: 0o664}, 0o664},
		{"owner that it has already", durable.Attr{Mode: 0o640, Owner: &durable.Owner{UID: os.Getuid(), GID: os.Getgid()}}, 0o640},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			for _, content := range []string{"first", "second, longer", ""} {
				if err := durable.WriteFile(path, []byte(content), tc.attr); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if err != nil || string(got) != content {
					t.Fatalf("got %q, %v, want %q", got, err, content)
				}
			}
			a, err := durable.AttrOf(path)
			if err != nil || a.Mode != tc.want {
				t.Errorf("mode %v, %v, want %v", a.Mode, err, tc.want)
			}
			if got := names(t, filepath.Dir(path)); len(got) != 1 {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

// What a crash left under the temporary name is replaced, and not written
// through if it is a link.
func TestWriteByATemporaryFileOfThatName(t *testing.T) {
	dir := t.TempDir()
	path, temp, other := filepath.Join(dir, "f"), filepath.Join(dir, "f.part"), filepath.Join(dir, "other")
	for _, leave := range []func() error{
		func() error { return nil },
		func() error { return os.WriteFile(temp, []byte("longer than what is written"), 0o666) },
		func() error { return errors.Join(os.WriteFile(other, nil, 0o600), os.Symlink(other, temp)) },
	} {
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFile(path, []byte("new"), durable.Attr{Temp: temp}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "new" {
			t.Errorf("got %q, %v", got, err)
		}
		if a, err := durable.AttrOf(path); err != nil || a.Mode != 0o600 {
			t.Errorf("mode %v, %v, want 0600", a.Mode, err)
		}
		if _, err := os.Lstat(temp); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the temporary file is still there: %v", err)
		}
	}
	if got, err := os.ReadFile(other); err != nil || len(got) > 0 {
		t.Errorf("the link was followed: %q, %v", got, err)
	}
}

func TestApply(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, a := range []durable.Attr{{Mode: 0o600}, {Owner: &durable.Owner{UID: os.Getuid(), GID: os.Getgid()}}} {
		if err := a.Apply(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v, nothing there: got %v", a, err)
		}
	}
	if err := (durable.Attr{}).Apply(path); err != nil {
		t.Errorf("nothing to give: got %v", err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	self := &durable.Owner{UID: os.Getuid(), GID: os.Getgid()}
	for _, tc := range []struct {
		attr durable.Attr
		want fs.FileMode
	}{
		{durable.Attr{Owner: self}, 0o644}, // no mode: as it is
		{durable.Attr{Mode: 0o600, Owner: self}, 0o600},
	} {
		if err := tc.attr.Apply(path); err != nil {
			t.Fatal(err)
		}
		if a, err := durable.AttrOf(path); err != nil || a.Mode != tc.want || *a.Owner != *self {
			t.Errorf("%+v: mode %v, owner %v, %v", tc.attr, a.Mode, a.Owner, err)
		}
	}
	if self.UID != 0 {
		return // only root may give files away
	}
	if err := (durable.Attr{Owner: &durable.Owner{UID: 1, GID: 1}}).Apply(path); err != nil {
		t.Fatal(err)
	}
	if a, err := durable.AttrOf(path); err != nil || a.Owner.UID != 1 || a.Owner.GID != 1 {
		t.Errorf("owner %v, %v, want 1 and 1", a.Owner, err)
	}
}

// Whoever may write to the folder could lead it anywhere.
func TestApplyLeavesOtherThingsAlone(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(file, link), syscall.Mkfifo(pipe, 0o644), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	attr := durable.Attr{Mode: 0o600}
	if os.Getuid() == 0 {
		attr.Owner = &durable.Owner{UID: 1, GID: 1}
	}
	for _, path := range []string{link, pipe, dir} {
		before, err := durable.AttrOf(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := attr.Apply(path); err != nil {
			t.Error(err)
		}
		if after, err := durable.AttrOf(path); err != nil || after.Mode != before.Mode || *after.Owner != *before.Owner {
			t.Errorf("%s was %v of %v, is %v of %v: %v", path, before.Mode, before.Owner, after.Mode, after.Owner, err)
		}
	}
}

func TestWriteKeepsTheOldContentOnFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := durable.WriteFile(path, []byte("good"), durable.Attr{}); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("half way")
	err := durable.Write(path, durable.Attr{}, func(w io.Writer) error {
		if _, err := io.WriteString(w, "ba"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	if got, _ := os.ReadFile(path); string(got) != "good" {
		t.Errorf("got %q, want the old content", got)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("left behind: %q", got)
	}
}

func TestWriteIsPrivateWhileItWrites(t *testing.T) {
	dir := t.TempDir()
	err := durable.Write(filepath.Join(dir, "key"), durable.Attr{Mode: 0o644}, func(w io.Writer) error {
		if _, err := io.WriteString(w, "secret"); err != nil {
			return err
		}
		for _, name := range names(t, dir) {
			if a, err := durable.AttrOf(filepath.Join(dir, name)); err != nil || a.Mode != 0o600 {
				t.Errorf("%s has mode %v, %v while being written", name, a.Mode, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteIntoMissingFolder(t *testing.T) {
	err := durable.WriteFile(filepath.Join(t.TempDir(), "no", "f"), nil, durable.Attr{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b")
	for range 2 {
		if err := durable.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
			t.Fatalf("got %v, %v", info, err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if err := durable.MkdirAll(path, 0o700); err == nil {
			t.Errorf("%s is made", path)
		}
	}
	t.Chdir(dir)
	if err := durable.MkdirAll("here/below", 0o700); err != nil {
		t.Error(err)
	}
}

func TestRemoveTemps(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.acl")
	for _, name := range []string{"access.acl", "access.acl.durable-123", "other.durable-1", "access.acl.bak"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.RemoveTemps(path); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("left: %q", got)
	}
	if err := durable.RemoveTemps(filepath.Join(dir, "no", "f")); err != nil {
		t.Errorf("missing folder: %v", err)
	}
}

func TestRemoveTempsIn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.p12", "a.p12.durable-1", "b.p12.durable-23", "a.key.durable-1", ".durable-9"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.RemoveTempsIn(dir, func(name string) bool { return filepath.Ext(name) == ".p12" }); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(names(t, dir), " "), ".durable-9 a.key.durable-1 a.p12"; got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
}
