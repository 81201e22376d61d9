package provision

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName leaves room for a suffix in the 255 bytes that file systems give a
// name.
const maxName = 200

// reserved are the names that Windows gives devices, in any folder, any case
// and whatever the suffix. Folders get shared and copied.
var reserved = []string{
	"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$",
	"COM0", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9", "COM¹", "COM²", "COM³",
	"LPT0", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9", "LPT¹", "LPT²", "LPT³",
}

// CheckName reports, as a *[FieldError] about the field, why name cannot be the
// first part of file names: it is empty, too long, has a path separator or a
// control or format character, begins with a dot or ends with a dot or blank,
// or Windows reserves it or a character of it. The colon of dojot's
// "tenant:device" is let pass.
func CheckName(field, name string) error {
	bad := func(want string) error { return &FieldError{field, name, want} }
	switch {
	case name == "" || len(name) > maxName || !utf8.ValidString(name):
		return bad("a name of 1 to 200 bytes of UTF-8")
	case strings.ContainsFunc(name, isUnseen):
		return bad("a name without control characters, or others that are not seen")
	case strings.ContainsAny(name, `/\<>"|?*`):
		return bad(`a name without / \ < > " | ? *, which are special in file names`)
	case name[0] == '.' || strings.HasSuffix(name, ".") || strings.TrimSpace(name) != name:
		return bad("a name that does not begin or end with a dot or a blank")
	}
	stem, _, _ := strings.Cut(name, ".")
	stem, _, _ = strings.Cut(stem, ":")
	if slices.Contains(reserved, strings.ToUpper(strings.TrimRight(stem, " "))) {
		return bad("a name that Windows does not reserve")
	}
	return nil
}

// isUnseen reports whether r is a control character or, such as those that turn
// the direction of writing, lets a name look like another.
func isUnseen(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }
