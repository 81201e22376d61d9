package acl_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

// openStore opens a file with content and closes it with the test.
func openStore(t testing.TB, content string, o acl.StoreOptions) (*acl.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.acl")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return reopen(t, path, o), path
}

func reopen(t testing.TB, path string, o acl.StoreOptions) *acl.Store {
	t.Helper()
	s, err := acl.OpenStore(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func set(user string, words ...string) acl.Change {
	c := acl.Change{User: user}
	for _, w := range words {
		r, err := acl.ParseRule(w)
		if err != nil {
			panic(err)
		}
		c.Rules = append(c.Rules, r)
	}
	return c
}

// wantFile checks the file on disk and in memory.
func wantFile(t testing.TB, s *acl.Store, path, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != want {
		t.Errorf("on disk: %q, %v, want %q", data, err, want)
	}
	s.View(func(f *acl.File) {
		if got := text(t, f); got != want {
			t.Errorf("in memory: %q, want %q", got, want)
		}
	})
}

func TestStoreApply(t *testing.T) {
	var told int
	s, path := openStore(t, "# head\nuser iotagent\ntopic read /#\n", acl.StoreOptions{
		Written: func(context.Context) error { told++; return nil },
	})
	apply := func(wantTold int, want string, changes ...acl.Change) {
		t.Helper()
		before := stat(t, path)
		old, _ := os.ReadFile(path)
		if err := s.Apply(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
		wantFile(t, s, path, want)
		if told != wantTold {
			t.Errorf("told %d times, want %d", told, wantTold)
		}
		if same := os.SameFile(before, stat(t, path)); same != (string(old) == want) {
			t.Errorf("same file: %v", same)
		}
	}
	seed := "# head\nuser iotagent\ntopic read /#\n"
	apply(1, seed) // nobody knows whether the broker has read the file as it is
	apply(1, seed)
	apply(2, seed+"user a\ntopic write x\n", set("a", "write x"))
	apply(2, seed+"user a\ntopic write x\n", set("a", "write x"))
	apply(3, seed+"user a\ntopic write y\nuser b\ntopic write z\n", set("a", "write y"), set("b", "write z"))
	apply(4, seed+"user b\ntopic write z\n", set("a"))
	apply(4, seed+"user b\ntopic write z\n", set("a"))
}

func stat(t testing.TB, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestStoreRefusesChangesOneByOne(t *testing.T) {
	s, path := openStore(t, "topic read anon\nuser a\ntopic write x\n", acl.StoreOptions{})
	taken := errors.New("taken")
	var seen []acl.Rule
	err := s.Apply(t.Context(),
		set("b", "write x"),
		acl.Change{User: "x\ntopic readwrite #", Rules: rules(t, "write x")},
		acl.Change{User: "a", Guard: func(current []acl.Rule) error { seen = current; return taken }},
		acl.Change{User: ""},
		acl.Change{User: "b", Rules: []acl.Rule{{Access: acl.Read, Topic: "a#"}}},
		acl.Change{User: "b", Rules: rules(t, "write y"), Guard: func(current []acl.Rule) error {
			if want := rules(t, "write x"); !slices.Equal(current, want) {
				t.Errorf("guard sees %v, want %v", current, want)
			}
			return nil
		}},
	)
	var got []int
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var ce *acl.ChangeError
		if !errors.As(e, &ce) {
			t.Fatalf("%v is no ChangeError", e)
		}
		got = append(got, ce.Index)
	}
	if want := []int{1, 2, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("refused %v, want %v", got, want)
	}
	for _, want := range []error{acl.ErrUser, acl.ErrTopic, taken} {
		if !errors.Is(err, want) {
			t.Errorf("%v is not in %v", want, err)
		}
	}
	if se := (*acl.StoreError)(nil); errors.As(err, &se) {
		t.Errorf("unexpected %v", se)
	}
	if want := rules(t, "write x"); !slices.Equal(seen, want) {
		t.Errorf("guard saw %v, want %v", seen, want)
	}
	wantFile(t, s, path, "topic read anon\nuser a\ntopic write x\nuser b\ntopic write y\n")
}

func TestStoreRemovesNamesItWouldNotWrite(t *testing.T) {
	s, path := openStore(t, "user a\tb\ntopic write x\n", acl.StoreOptions{})
	if err := s.Apply(t.Context(), set("a\tb", "write y")); !errors.Is(err, acl.ErrUser) {
		t.Errorf("got %v, want ErrUser", err)
	}
	if err := s.Apply(t.Context(), set("a\tb")); err != nil {
		t.Error(err)
	}
	wantFile(t, s, path, "")
}

func TestStoreSharesWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told, busy atomic.Int32
		s, path := openStore(t, "", acl.StoreOptions{Written: func(context.Context) error {
			if busy.Add(1) > 1 {
				t.Error("Written runs twice at a time")
			}
			time.Sleep(time.Second) // of the bubble's clock
			busy.Add(-1)
			told.Add(1)
			return nil
		}})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				user := fmt.Sprintf("dev-%03d", i)
				if err := s.Apply(t.Context(), set(user, "write /t/"+user)); err != nil {
					t.Error(err)
				}
				if told.Load() == 0 {
					t.Error("answered before the broker was told")
				}
			})
		}
		wg.Wait()
		if told.Load() != 2 {
			t.Errorf("told %d times, want 2", told.Load())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(slices.Collect(parse(t, string(data)).Users())); n != 200 {
			t.Errorf("%d users, want 200", n)
		}
	})
}

func TestStoreConcurrency(t *testing.T) {
	s, path := openStore(t, "user base\ntopic read x\n", acl.StoreOptions{})
	const callers, each = 8, 20
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				user := fmt.Sprintf("%d-%d", c, i)
				if err := s.Apply(t.Context(), set(user, "write "+user)); err != nil {
					t.Error(err)
				}
				s.View(func(f *acl.File) {
					if len(slices.Collect(f.Rules(user))) != 1 {
						t.Errorf("%s is not there", user)
					}
				})
				if i%2 == 0 {
					if err := s.Apply(t.Context(), set(user)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(slices.Collect(parse(t, string(data)).Users())); n != 1+callers*each/2 {
		t.Errorf("%d users, want %d", n, 1+callers*each/2)
	}
}

func TestStoreOwesTheBroker(t *testing.T) {
	down := errors.New("broker is down")
	var told int
	var fail error
	s, path := openStore(t, "", acl.StoreOptions{Written: func(context.Context) error { told++; return fail }})
	fail = down
	err := s.Apply(t.Context(), set("a", "write x"), set("", "write x"))
	var se *acl.StoreError
	if !errors.As(err, &se) || se.Op != "tell the broker" || !errors.Is(err, down) {
		t.Fatalf("got %v, want a StoreError", err)
	}
	if ce := (*acl.ChangeError)(nil); !errors.As(err, &ce) || ce.Index != 1 {
		t.Errorf("%v lacks the refused change", err)
	}
	wantFile(t, s, path, "user a\ntopic write x\n")
	if err := s.Apply(t.Context(), set("a", "write x")); !errors.Is(err, down) {
		t.Errorf("again: got %v, want %v", err, down)
	}
	fail = nil
	for range 2 {
		if err := s.Apply(t.Context(), set("a", "write x")); err != nil {
			t.Error(err)
		}
	}
	if told != 3 {
		t.Errorf("told %d times, want 3", told)
	}

	// A crash between the write and the news is a debt of the next process.
	fail = down
	if err := s.Apply(t.Context(), set("b", "write x")); err == nil {
		t.Fatal("no error")
	}
	s.Close()
	s = reopen(t, path, acl.StoreOptions{Written: func(context.Context) error { told++; return nil }})
	if err := s.Apply(t.Context(), set("b", "write x")); err != nil {
		t.Fatal(err)
	}
	if told != 5 {
		t.Errorf("told %d times, want 5", told)
	}
}

// readOnly makes a folder refuse new files to this goroutine, which as root
// takes more than a mode, and returns what undoes it.
func readOnly(t *testing.T, dir string) (undo func()) {
	t.Helper()
	// The folder above is private to its owner.
	if err := errors.Join(os.Chmod(dir, 0o555), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if os.Geteuid() == 0 {
			if err := syscall.Setfsuid(0); err != nil {
				t.Fatal(err)
			}
			runtime.UnlockOSThread()
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoreAfterAFailedWrite(t *testing.T) {
	var told int
	s, path := openStore(t, "user a\ntopic write x\n", acl.StoreOptions{Written: func(context.Context) error { told++; return nil }})
	undo := readOnly(t, filepath.Dir(path))
	err := s.Apply(t.Context(), set("b", "write x"), set("a"))
	undo()
	var se *acl.StoreError
	if !errors.As(err, &se) || se.Op != "write" || !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("got %v, want a StoreError of a write", err)
	}
	wantFile(t, s, path, "user a\ntopic write x\n")
	if told != 0 {
		t.Error("told of a write that failed")
	}
	if err := s.Apply(t.Context(), set("b", "write x")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, path, "user a\ntopic write x\nuser b\ntopic write x\n")
	if told != 1 {
		t.Errorf("told %d times, want 1", told)
	}
}

func TestStoreWithAFolderInItsPlace(t *testing.T) {
	const content = "user a\ntopic write x\n"
	s, path := openStore(t, content, acl.StoreOptions{})
	inTheWay := set("b", "write x")
	inTheWay.Guard = func([]acl.Rule) error {
		return errors.Join(os.Rename(path, path+".away"), os.MkdirAll(path+"/full", 0o700))
	}
	for _, c := range []acl.Change{inTheWay, set("b", "write x")} {
		var se *acl.StoreError
		if err := s.Apply(t.Context(), c); !errors.As(err, &se) || se.Op != "read" {
			t.Fatalf("got %v, want a StoreError of a read", err)
		}
		s.View(func(f *acl.File) {
			if got := text(t, f); got != content {
				t.Errorf("serves %q, want %q", got, content)
			}
		})
	}
	if err := errors.Join(os.RemoveAll(path), os.Rename(path+".away", path)); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, path, content)
	if left, _ := filepath.Glob(path + ".*"); len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
}

// An edit while changes are being made is merged as one before is.
func TestStoreKeepsWhatOthersEditMeanwhile(t *testing.T) {
	s, path := openStore(t, "user a\ntopic write x\n", acl.StoreOptions{})
	edits := 0
	edited := func(n int) string { return strings.Repeat("#", n) + "\nuser a\ntopic write y\n" } // of different sizes
	edit := func(user string, most int) acl.Change {
		c := set(user, "write x")
		c.Guard = func([]acl.Rule) error {
			if edits++; edits > most {
				return nil
			}
			return os.WriteFile(path, []byte(edited(edits)), 0o644)
		}
		return c
	}
	if err := s.Apply(t.Context(), edit("b", 2), set("c", "write x")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, path, edited(2)+"user b\ntopic write x\nuser c\ntopic write x\n")

	var se *acl.StoreError
	if err := s.Apply(t.Context(), edit("d", 1000)); !errors.As(err, &se) || se.Op != "write" || edits > 10 {
		t.Errorf("%d edits, and never an end: got %v, want a StoreError of a write", edits, err)
	}
	data, err := os.ReadFile(path)
	if want := edited(edits); err != nil || string(data) != want {
		t.Errorf("on disk: %q, %v, want %q", data, err, want)
	}
	if left, _ := filepath.Glob(path + ".durable-*"); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

// What a Store reads and writes is what its broker does.
func TestStoreForAVersion(t *testing.T) {
	for _, tc := range []struct {
		version string
		seed    string
		open    error
		change  acl.Change
		apply   error
		want    string // the file, after that
	}{
		{version: "2.0.11", seed: "topic deny a\n", change: set("b", "deny x"), want: "topic deny a\nuser b\ntopic deny x\n"},
		{version: "2.1.2", seed: "topic deny a\n", change: set("b", "deny x"), want: "topic deny a\nuser b\ntopic deny x\n"},
		{version: "1.6.15", seed: "topic deny a\n", open: acl.ErrAccess},
		{version: "1.6.15", seed: "topic a \n", change: set("b", "deny x"), apply: acl.ErrAccess, want: "topic a \n"},
		{version: "1.6.15", change: set("b", "read x"), want: "user b\ntopic read x\n"},
		{version: "1.6.15", seed: "user b\ntopic read x\n", change: set("b"), want: ""},
		{version: "1.5.5", seed: "any words\ntopic a+\n", change: set("b", "read x"), want: "any words\ntopic a+\nuser b\ntopic read x\n"},
		{version: "1.5.6", seed: "any words\ntopic a+\n", open: acl.ErrKeyword},
		{version: "1.5.6", seed: "topic a+\n", change: set("b", "read x"), want: "topic a+\nuser b\ntopic read x\n"},
		{version: "1.5.5", open: acl.ErrNoRules},
		{version: "1.5.5", seed: "user b\ntopic read x\n", change: set("b"), apply: acl.ErrNoRules, want: "user b\ntopic read x\n"},
		{version: "1.5.5", seed: "pattern read a/%u\nuser b\ntopic read x\n", change: set("b"), want: "pattern read a/%u\n"},
	} {
		path := filepath.Join(t.TempDir(), "access.acl")
		s, err := acl.OpenStore(path, acl.StoreOptions{Version: version(t, tc.version), Seed: []byte(tc.seed)})
		if !errors.Is(err, tc.open) {
			t.Errorf("%s, %q: opened with %v, want %v", tc.version, tc.seed, err, tc.open)
		}
		if err != nil {
			continue
		}
		if err := s.Apply(t.Context(), tc.change); !errors.Is(err, tc.apply) {
			t.Errorf("%s, %q: got %v, want %v", tc.version, tc.seed, err, tc.apply)
		}
		wantFile(t, s, path, tc.want)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStoreKeepsWhatOthersEdit(t *testing.T) {
	var told int
	s, path := openStore(t, "user a\ntopic write x\n", acl.StoreOptions{Written: func(context.Context) error { told++; return nil }})
	if err := s.Apply(t.Context(), set("b", "write y")); err != nil {
		t.Fatal(err)
	}
	edit := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	edit("# by hand\nuser a\ntopic write z\n")
	if err := s.Apply(t.Context(), set("c", "write x")); err != nil {
		t.Fatal(err)
	}
	want := "# by hand\nuser a\ntopic write z\nuser c\ntopic write x\n"
	wantFile(t, s, path, want)

	edit(want + "topic write\n# half") // an editor that hasn't finished is no error
	edit(want + "topic raed q\n")
	err := s.Apply(t.Context(), set("d", "write x"))
	var se *acl.StoreError
	var bad *acl.SyntaxError
	if !errors.As(err, &se) || se.Op != "read" || !errors.As(err, &bad) || bad.Line != 6 || bad.File != path {
		t.Errorf("got %v, want a StoreError with a SyntaxError in line 6", err)
	}
	if data, _ := os.ReadFile(path); string(data) != want+"topic raed q\n" {
		t.Errorf("the broken file became %q", data)
	}
	edit(want)
	if err := s.Apply(t.Context(), set("d", "write x")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, path, want+"user d\ntopic write x\n")

	if told != 3 {
		t.Errorf("told %d times, want 3", told)
	}
	edit(want) // the broker may not know of this one
	if err := s.Apply(t.Context()); err != nil || told != 4 {
		t.Errorf("after an edit: %v, told %d times, want 4", err, told)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context()); err != nil || told != 5 {
		t.Errorf("after a removal: %v, told %d times, want 5", err, told)
	}
	wantFile(t, s, path, want)
}

func TestStoreKeepsOwnerAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.acl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 1234, 4321
	}
	if err := errors.Join(os.Chown(path, uid, gid), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	s := reopen(t, path, acl.StoreOptions{Mode: 0o600, Owner: &acl.Owner{}})
	if err := s.Apply(t.Context(), set("a", "write x")); err != nil {
		t.Fatal(err)
	}
	info := stat(t, path)
	if st := info.Sys().(*syscall.Stat_t); info.Mode() != 0o640 || int(st.Uid) != uid || int(st.Gid) != gid {
		t.Errorf("%v of %d:%d, want -rw-r----- of %d:%d", info.Mode(), st.Uid, st.Gid, uid, gid)
	}
	// Somebody's change of mode alone is kept too.
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), set("b", "write x")); err != nil {
		t.Fatal(err)
	}
	if got := stat(t, path).Mode(); got != 0o600 {
		t.Errorf("%v, want -rw-------", got)
	}
}

func TestStoreCreatesTheFile(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    acl.StoreOptions
		want fs.FileMode
	}{
		{"empty and private", acl.StoreOptions{}, 0o600},
		{"seeded", acl.StoreOptions{Seed: []byte("user a\ntopic read /#\n"), Mode: 0o640, Owner: &acl.Owner{UID: os.Getuid(), GID: os.Getgid()}}, 0o640},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.acl")
			s := reopen(t, path, tc.o)
			wantFile(t, s, path, string(tc.o.Seed))
			if got := stat(t, path).Mode(); got != tc.want {
				t.Errorf("mode %v, want %v", got, tc.want)
			}
			if err := s.Apply(t.Context(), set("b", "write x")); err != nil {
				t.Fatal(err)
			}
			wantFile(t, s, path, string(tc.o.Seed)+"user b\ntopic write x\n")
			if got := stat(t, path).Mode(); got != tc.want {
				t.Errorf("mode %v after a write, want %v", got, tc.want)
			}
		})
	}
}

func TestOpenStoreRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string) error
		o    acl.StoreOptions
		want string
	}{
		{name: "symbolic link", want: "symbolic link", make: func(t *testing.T, path string) error {
			return errors.Join(os.WriteFile(path+".real", nil, 0o600), os.Symlink(path+".real", path))
		}},
		{name: "dangling symbolic link", want: "symbolic link", make: func(t *testing.T, path string) error {
			return os.Symlink("nowhere", path)
		}},
		{name: "folder", want: "not a regular file", make: func(t *testing.T, path string) error {
			return os.Mkdir(path, 0o700)
		}},
		{name: "named pipe", want: "not a regular file", make: func(t *testing.T, path string) error {
			return syscall.Mkfifo(path, 0o600)
		}},
		{name: "file that doesn't parse", want: "access.acl:2: unknown keyword", make: func(t *testing.T, path string) error {
			return os.WriteFile(path, []byte("user a\ntpoic read x\n"), 0o600)
		}},
		{name: "seed that doesn't parse", want: "access.acl:1: unknown keyword", o: acl.StoreOptions{Seed: []byte("x\n")}},
		{name: "no folder", want: "no such file", make: func(t *testing.T, path string) error {
			return os.Remove(filepath.Dir(path))
		}},
		{name: "link in place of the lock", want: "too many levels of symbolic links", make: func(t *testing.T, path string) error {
			return os.Symlink(path, path+".lock")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x", "access.acl")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if tc.make != nil {
				if err := tc.make(t, path); err != nil {
					t.Fatal(err)
				}
			}
			s, err := acl.OpenStore(path, tc.o)
			var se *acl.StoreError
			if s != nil || !errors.As(err, &se) || se.Op != "open" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a StoreError of open with %q", err, tc.want)
			}
		})
	}
}

func TestStoreIsAlone(t *testing.T) {
	s, path := openStore(t, "", acl.StoreOptions{})
	if _, err := acl.OpenStore(path, acl.StoreOptions{}); !errors.Is(err, acl.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	var se *acl.StoreError
	if err := s.Apply(t.Context(), set("a", "write x")); !errors.As(err, &se) || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed: got %v, want a StoreError with fs.ErrClosed", err)
	}
	reopen(t, path, acl.StoreOptions{})
}

func TestOpenStoreRemovesTemporaries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.acl")
	if err := os.WriteFile(path+".durable-1", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	reopen(t, path, acl.StoreOptions{})
	got, _ := filepath.Glob(path + "*")
	if diff := cmp.Diff([]string{path, path + ".lock"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestApplyGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, path := openStore(t, "", acl.StoreOptions{Written: func(context.Context) error { <-release; return nil }})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Apply(t.Context(), set("a", "write x")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			err := s.Apply(ctx, set("b", "write x"))
			if se := (*acl.StoreError)(nil); !errors.As(err, &se) || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want a StoreError with context.Canceled", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		wantFile(t, s, path, "user a\ntopic write x\n")
	})
}
