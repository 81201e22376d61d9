package mosquittoconf

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Severity says what a finding means for the broker.
type Severity uint8

const (
	// Warning is a fault that the broker survives, or one that a reload does
	// not make worse.
	Warning Severity = iota
	// Trap is a fault with which the broker starts and does not do what its
	// configuration says: it is open, or closed to everybody, or deaf.
	Trap
	// Refused is a fault with which the broker does not start, and with which a
	// SIGHUP stops it or leaves it with half of its configuration.
	Refused
)

func (s Severity) String() string {
	switch s {
	case Warning:
		return "warning"
	case Trap:
		return "trap"
	case Refused:
		return "refused"
	}
	return "Severity(" + strconv.Itoa(int(s)) + ")"
}

// Finding is a fault of a configuration, or of the material that it names.
type Finding struct {
	ID       string // what it is, such as "certificate-expired"; it does not change
	File     string // the configuration, as given to Parse
	Line     int    // of the directive that it is about
	Severity Severity
	Message  string // what is wrong
	Remedy   string // what to do about it
}

// String returns the finding in a line: position, severity, message, remedy.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s; %s", f.File, f.Line, f.Severity, f.Message, f.Remedy)
}

// findings collects what is found about statements.
type findings struct {
	list []Finding
	at   []int // indices of their statements
}

func (fs *findings) add(s Severity, d *statement, id, message, remedy string) {
	f := Finding{ID: id, Line: d.Line, Severity: s, Message: message, Remedy: remedy}
	if d.file != nil {
		f.File = d.file.name
	}
	fs.list = append(fs.list, f)
	fs.at = append(fs.at, d.index)
}

func (fs *findings) refused(d *statement, id, message, remedy string) {
	fs.add(Refused, d, id, message, remedy)
}
func (fs *findings) trap(d *statement, id, message, remedy string) {
	fs.add(Trap, d, id, message, remedy)
}
func (fs *findings) warn(d *statement, id, message, remedy string) {
	fs.add(Warning, d, id, message, remedy)
}

// sorted returns the findings in the order in which a broker reads the lines.
func (fs *findings) sorted() []Finding {
	index := make([]int, len(fs.list))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(fs.at[a], fs.at[b]) })
	var out []Finding
	for _, i := range index {
		out = append(out, fs.list[i])
	}
	return out
}
