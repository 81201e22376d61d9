package enrol

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/dojot/mqtt-manager-go/provision"
)

// MaxDevices bounds a run.
const MaxDevices = 1_000_000

// byteOrderMark is what some editors begin a file with.
const byteOrderMark = "\ufeff"

// Devices reads who is to be enrolled: names separated by commas, ranges such
// as dev[001-100], which keep their leading zeros, and @file for a file with
// one such name or range a line. Blank lines there, and those that begin with
// #, are passed over. A name that occurs twice is an error, and so is one
// that [provision.CheckName] refuses.
func Devices(text string) ([]string, error) {
	l := &list{seen: map[string]bool{}}
	for part := range strings.SplitSeq(text, ",") {
		var err error
		if path, ok := strings.CutPrefix(part, "@"); ok {
			err = l.addFile(path)
		} else {
			err = l.add(part)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(l.names) == 0 {
		return nil, fmt.Errorf("devices %q: want at least one", text)
	}
	return l.names, nil
}

type list struct {
	names []string
	seen  map[string]bool
}

func (l *list) addFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const longest = 256 << 20
	lines := bufio.NewScanner(io.LimitReader(f, longest))
	n := 1
	for ; lines.Scan(); n++ {
		line := lines.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, byteOrderMark)
		}
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := l.add(line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", path, n, err)
	}
	return nil
}

// add takes a name, or a range.
func (l *list) add(text string) error {
	before, rest, open := strings.Cut(text, "[")
	inside, after, closed := strings.Cut(rest, "]")
	if !open {
		return l.addName(text)
	}
	low, high, dash := strings.Cut(inside, "-")
	first, err1 := strconv.ParseUint(low, 10, 32)
	last, err2 := strconv.ParseUint(high, 10, 32)
	if !closed || !dash || err1 != nil || err2 != nil || strings.ContainsAny(after, "[]") || last < first || last-first >= MaxDevices {
		return fmt.Errorf("range %q: want one like dev[001-100], of at most %d devices", text, MaxDevices)
	}
	for n := first; n <= last; n++ {
		if err := l.addName(fmt.Sprintf("%s%0*d%s", before, len(low), n, after)); err != nil {
			return err
		}
	}
	return nil
}

func (l *list) addName(name string) error {
	if err := provision.CheckName("device", name); err != nil {
		return err
	}
	if l.seen[name] {
		return fmt.Errorf("device %q: it is there twice", name)
	}
	if len(l.names) >= MaxDevices {
		return fmt.Errorf("device %q: want at most %d devices", name, MaxDevices)
	}
	l.seen[name] = true
	l.names = append(l.names, name)
	return nil
}
