package provision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A replacement that was cut short at any point is done or undone by the next
// call.
func TestReplaceAndUndo(t *testing.T) {
	const fresh = "new"
	link := func(t *testing.T, from, to string) { must(t, os.Link(from, to)) }
	rename := func(t *testing.T, from, to string) { must(t, os.Rename(from, to)) }
	for _, tc := range []struct {
		name string
		old  string // empty: there was none
		cut  func(t *testing.T, path, next, old string)
	}{
		{"before", "old", func(t *testing.T, path, next, old string) {}},
		{"before, with none there", "", func(t *testing.T, path, next, old string) {}},
		{"set aside", "old", func(t *testing.T, path, next, old string) { link(t, path, old) }},
		{"set aside where no links can be had", "old", func(t *testing.T, path, next, old string) { rename(t, path, old) }},
		{"replaced", "old", func(t *testing.T, path, next, old string) { link(t, path, old); rename(t, next, path) }},
		{"while undone", "old", func(t *testing.T, path, next, old string) {
			link(t, path, old)
			rename(t, next, path)
			link(t, path, next)
		}},
		{"while undone where no links can be had", "old", func(t *testing.T, path, next, old string) {
			rename(t, path, old)
			rename(t, next, path)
			rename(t, path, next)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			next, old := path+".next", path+".next.replaced"
			if tc.old != "" {
				must(t, os.WriteFile(path, []byte(tc.old), 0o600))
			}
			must(t, os.WriteFile(next, []byte(fresh), 0o600))
			tc.cut(t, path, next, old)

			done, err := replace(path, next)
			if !done || err != nil || content(t, path) != fresh || content(t, old) != tc.old {
				t.Fatalf("got %v, %v: there is %q, and beside it %q", done, err, content(t, path), content(t, old))
			}
			if exists(next) {
				t.Error("it is under both names")
			}
			must(t, undo(path, next))
			if content(t, path) != tc.old || content(t, next) != fresh || content(t, old) != "" {
				t.Errorf("undone: there is %q, to come %q, beside it %q", content(t, path), content(t, next), content(t, old))
			}
		})
	}
}

// What cannot be replaced is left as it was.
func TestReplaceThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	next, old := path+".next", path+".next.replaced"
	must(t, os.WriteFile(path, []byte("old"), 0o600))
	must(t, os.Mkdir(next, 0o700)) // no file can be replaced by it
	if done, err := replace(path, next); done || err == nil {
		t.Errorf("got %v, %v, want an error", done, err)
	}
	if content(t, path) != "old" || exists(old) {
		t.Errorf("there is %q, and beside it %q", content(t, path), content(t, old))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content is empty if there is no file.
func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}
