package mosquittoconf

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

func ownerOf(info fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// obstacle says what keeps the broker's user from reading the file at path,
// going by owners and modes; empty is nothing.
func (c *checker) obstacle(path string) string {
	if c.env.UID == 0 {
		return ""
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	// A link needs its own folders to be passable, too.
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return ""
	}
	for _, dir := range []string{folder, filepath.Dir(real)} {
		for _, d := range ancestors(dir) {
			if info, err := os.Stat(d); err == nil && !c.permits(info, 0o1) {
				return fmt.Sprintf("folder %s has mode %#o", d, info.Mode().Perm())
			}
		}
	}
	if info, err := os.Stat(real); err == nil && !c.permits(info, 0o4) {
		return fmt.Sprintf("it has mode %#o", info.Mode().Perm())
	}
	return ""
}

// ancestors returns dir and the folders above it, outermost first.
func ancestors(dir string) []string {
	all := []string{dir}
	for filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		all = append(all, dir)
	}
	slices.Reverse(all)
	return all
}

// permits reports whether the broker's user has the access that bit, one of
// the three lowest, stands for. Only the first class that applies counts: an
// owner does not fall back on the rights of others.
func (c *checker) permits(info fs.FileInfo, bit fs.FileMode) bool {
	uid, gid, ok := ownerOf(info)
	switch {
	case !ok:
		return true
	case uid == c.env.UID:
		bit <<= 6
	case gid == c.env.GID || slices.Contains(c.env.Groups, gid):
		bit <<= 3
	}
	return info.Mode()&bit != 0
}
