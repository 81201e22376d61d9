package mosquittoconf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
)

// ParseFS reads a configuration with the files that its include_dir lines
// include: those of a folder whose names end in .conf, sorted as a broker does.
// Each is a [File] of its own; what is asked of the main one takes them into
// account.
//
// Names in fsys are as in package io/fs: include_dir "/etc/mosquitto/conf.d" is
// its "etc/mosquitto/conf.d", as os.DirFS("/") has it, and a relative folder is
// one of fsys, too. A folder that is missing, for which a broker refuses the
// configuration, is a *SyntaxError that wraps fs.ErrNotExist.
func ParseFS(fsys fs.FS, name string) (*File, error) {
	f, err := readFile(fsys, name)
	if err != nil {
		return nil, err
	}
	var errs []error
	f.included = make(map[*line][]*File)
	for i, l := range f.lines {
		if l.key != "include_dir" {
			continue
		}
		included, err := readDir(fsys, path.Clean(strings.TrimPrefix(l.rest, "/")))
		if err != nil {
			if _, syntax := errors.AsType[*SyntaxError](err); !syntax {
				err = &SyntaxError{File: name, Line: i + 1, Err: err}
			}
			errs = append(errs, err)
			continue
		}
		for _, file := range included {
			file.parent = f
		}
		f.included[l] = included
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	f.index()
	return f, nil
}

// Included yields the files that ParseFS has found in include_dir folders, in
// the order in which a broker reads them.
func (f *File) Included() iter.Seq[*File] {
	return func(yield func(*File) bool) {
		for _, l := range f.lines {
			for _, included := range f.included[l] {
				if !yield(included) {
					return
				}
			}
		}
	}
}

func readDir(fsys fs.FS, dir string) ([]*File, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".conf") && len(name) > len(".conf") {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
	})
	var files []*File
	for _, name := range names {
		f, err := readFile(fsys, path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// maxConfig is far above a configuration with ten thousand bridges.
const maxConfig = 1 << 24

func readFile(fsys fs.FS, name string) (*File, error) {
	in, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxConfig)
	}
	return Parse(name, data)
}
