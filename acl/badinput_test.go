package acl_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
)

// limitedFile names the file that a child process of TestStoreOnFullDisk
// tries to let grow.
const limitedFile = "ACL_TEST_LIMITED"

// TestStoreOnFullDisk runs in a child process that can't write more than a
// few kilobytes to a file, which fails like a disk that is full: in the middle
// of a write.
func TestStoreOnFullDisk(t *testing.T) {
	const before = "user a\ntopic write x\n"
	if path := os.Getenv(limitedFile); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
			t.Fatal(err)
		}
		told := 0
		s := reopen(t, path, acl.StoreOptions{Written: func(context.Context) error { told++; return nil }})
		var changes []acl.Change
		for i := range 1000 {
			changes = append(changes, set(deviceName(i), "write "+deviceTopic(i)))
		}
		var se *acl.StoreError
		if err := s.Apply(t.Context(), changes...); !errors.As(err, &se) || se.Op != "write" || !errors.Is(err, syscall.EFBIG) {
			t.Errorf("got %v, want a StoreError of a write", err)
		}
		wantFile(t, s, path, before)
		if left, _ := filepath.Glob(path + ".durable-*"); left != nil || told != 0 {
			t.Errorf("left %q behind, told the broker %d times", left, told)
		}
		if err := s.Apply(t.Context(), changes[0]); err != nil {
			t.Errorf("what fits isn't written: %v", err)
		}
		wantFile(t, s, path, before+"user "+deviceName(0)+"\ntopic write "+deviceTopic(0)+"\n")
		return
	}
	path := filepath.Join(t.TempDir(), "access.acl")
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	// Without its output files, to which the limit would apply, too.
	cmd := exec.Command(os.Args[0], "-test.run=^TestStoreOnFullDisk$")
	cmd.Env = append(os.Environ(), limitedFile+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// asNobody lets this goroutine see files as a user who owns none, which root
// needs to be refused anything. It returns what undoes it.
func asNobody(t *testing.T) (undo func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		return func() {}
	}
	runtime.LockOSThread()
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
	}
}

func TestStoreWithUnreadableFile(t *testing.T) {
	const content = "user a\ntopic write x\n"
	s, path := openStore(t, content, acl.StoreOptions{})
	// Somebody replaces the file by one that is theirs alone.
	if err := errors.Join(os.WriteFile(path, []byte("topic read a\n"), 0o600), os.Chmod(path, 0), os.Chmod(filepath.Dir(path), 0o755), os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755)); err != nil {
		t.Fatal(err)
	}
	undo := asNobody(t)
	err := s.Apply(t.Context(), set("b", "write x"))
	undo()
	var se *acl.StoreError
	if !errors.As(err, &se) || se.Op != "read" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want a StoreError of a read", err)
	}
	s.View(func(f *acl.File) {
		if got := text(t, f); got != content {
			t.Errorf("serves %q, want what it knew, %q", got, content)
		}
	})
	s.Close()

	undo = asNobody(t)
	other, err := acl.OpenStore(path, acl.StoreOptions{})
	undo()
	if other != nil || !errors.As(err, &se) || se.Op != "open" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, %v, want a StoreError of open", other, err)
	}
}

// A failed write leaves what is served alone even if the file can't be read
// again either, and it is written when that is possible again.
func TestStoreServesTheOldState(t *testing.T) {
	const content = "user a\ntopic write x\n"
	s, path := openStore(t, content, acl.StoreOptions{})
	gone := set("b", "write x")
	gone.Guard = func([]acl.Rule) error { return os.RemoveAll(filepath.Dir(path)) }
	var se *acl.StoreError
	if err := s.Apply(t.Context(), gone); !errors.As(err, &se) || se.Op != "write" || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want a StoreError of a write", err)
	}
	s.View(func(f *acl.File) {
		if got := text(t, f); got != content {
			t.Errorf("serves %q, want %q", got, content)
		}
	})
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), set("c", "write x")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, path, content+"user c\ntopic write x\n")
}

// During a write, readers see what was there before, and wait for nobody.
func TestViewDuringApply(t *testing.T) {
	const content = "user a\ntopic write x\n"
	s, _ := openStore(t, content, acl.StoreOptions{})
	c := set("b", "write x")
	c.Guard = func([]acl.Rule) error {
		s.View(func(f *acl.File) {
			if got := text(t, f); got != content {
				t.Errorf("sees %q, want %q", got, content)
			}
		})
		return nil
	}
	if err := s.Apply(t.Context(), set("a", "read y"), c); err != nil {
		t.Fatal(err)
	}
}

// Names and topics from a message bus, in whatever way an edit is asked for.
func TestEditsRefuse(t *testing.T) {
	for _, bad := range []string{"", "a\nb", "a\rb", "a\x00", " a", "a ", "\ta", "a\t", "a\v", "\xff", "a\xc3", "\u2028\x01", "\ufffe", strings.Repeat("a", 1100)} {
		for name, edit := range map[string]func(*acl.File) error{
			"user":      func(f *acl.File) error { _, err := f.SetUser(bad, rules(t, "read x")...); return err },
			"topic":     func(f *acl.File) error { _, err := f.SetUser("u", acl.Rule{Access: acl.Read, Topic: bad}); return err },
			"anonymous": func(f *acl.File) error { _, err := f.SetAnonymous(acl.Rule{Access: acl.Read, Topic: bad}); return err },
			"pattern":   func(f *acl.File) error { _, err := f.SetPatterns(acl.Rule{Access: acl.Read, Topic: bad}); return err },
		} {
			f := parse(t, "# c\n")
			err := edit(f)
			if want := acl.ErrTopic; name != "user" && !errors.Is(err, want) {
				t.Errorf("%s %.20q: got %v, want %v", name, bad, err, want)
			}
			if name == "user" && !errors.Is(err, acl.ErrUser) {
				t.Errorf("%s %.20q: got %v, want %v", name, bad, err, acl.ErrUser)
			}
			if got := text(t, f); got != "# c\n" {
				t.Errorf("%s %.20q made %q", name, bad, got)
			}
		}
	}
}
