package acl_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

// parse parses text that must be good.
func parse(t testing.TB, text string) *acl.File {
	t.Helper()
	f, err := acl.Parse("access.acl", []byte(text))
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return f
}

// text is what f writes.
func text(t testing.TB, f *acl.File) string {
	t.Helper()
	var b bytes.Buffer
	n, err := f.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo: %d bytes of %d, %v", n, b.Len(), err)
	}
	return b.String()
}

// content lists what f says: a line for each user and each of its rules.
func content(f *acl.File) []string {
	var out []string
	for _, user := range append([]string{""}, slices.Collect(f.Users())...) {
		if user != "" {
			out = append(out, "user "+user)
		}
		for r := range f.Rules(user) {
			out = append(out, r.String())
		}
	}
	return out
}

// grammar is what brokers load and refuse, asked of the real one in
// TestBrokerLoadsWhatParseAccepts.
var grammar = []struct {
	name string
	text string
	want []string // see content
	err  error
}{
	{name: "empty file", text: ""},
	{name: "comments only", text: "# a\n#b\n"},
	{name: "no end of the last line", text: "user a\ntopic read b", want: []string{"user a", "read b"}},
	{name: "CR LF", text: "user a\r\ntopic read b\r\n", want: []string{"user a", "read b"}},
	{name: "CR alone ends no line", text: "user a\rtopic read b\n", want: []string{"user a\rtopic read b"}},
	{name: "blank lines", text: "\n   \n\t\t\n \t\v\f\r\n"},
	{name: "white space at the end", text: "user a \t\v\f\r\ntopic read b\t \n", want: []string{"user a", "read b"}},
	{name: "spaces before and between", text: "  user   a\n   topic   read    b\n", want: []string{"user a", "read b"}},
	{name: "comment lines with white space", text: "#\t x \n"},
	{name: "indented comment", text: " # a\n", err: acl.ErrKeyword},
	{name: "comment after TAB", text: "\t# a\n", err: acl.ErrKeyword},
	{name: "TAB after the keyword", text: "topic\tread a\n", err: acl.ErrKeyword},
	{name: "TAB before the keyword", text: "\ttopic read a\n", err: acl.ErrKeyword},
	{name: "TAB after user", text: "user\ta\n", err: acl.ErrKeyword},
	{name: "byte order mark", text: "\ufefftopic read a\n", err: acl.ErrKeyword},
	{name: "byte order mark before a comment", text: "\ufeff# a\n", err: acl.ErrKeyword},
	{name: "no-break space is no white space", text: "\u00a0\n", err: acl.ErrKeyword},
	{name: "upper case keyword", text: "Topic read a\n", err: acl.ErrKeyword},
	{name: "longer keyword", text: "topics read a\n", err: acl.ErrKeyword},
	{name: "option of another file", text: "allow_anonymous true\n", err: acl.ErrKeyword},

	{name: "accesses", text: "topic read a\ntopic write b\ntopic readwrite c\ntopic deny d\n",
		want: []string{"read a", "write b", "readwrite c", "deny d"}},
	{name: "no access", text: "topic a/b\n", want: []string{"readwrite a/b"}},
	{name: "no access, white space behind", text: "topic a/b  \n", want: []string{"readwrite a/b"}},
	{name: "access words are topics too", text: "topic read\ntopic deny\ntopic write \n",
		want: []string{"readwrite read", "readwrite deny", "readwrite write"}},
	{name: "TAB after the access", text: "topic read\ta\n", want: []string{"readwrite read\ta"}},
	{name: "TAB before the topic", text: "topic read \ta\n", want: []string{"read a"}},
	{name: "other white space before the topic", text: "topic read \v\f\r a\n", want: []string{"read a"}},
	{name: "spaces inside a topic", text: "topic read a  b/c\n", want: []string{"read a  b/c"}},
	{name: "a comment after a topic is none", text: "topic read a # b\n", err: acl.ErrTopic},
	{name: "quotes and backslashes are literal", text: `topic read "a\b"` + "\n", want: []string{`read "a\b"`}},
	{name: "topic with spaces needs an access", text: "topic a b\n", err: acl.ErrAccess},
	{name: "unknown access", text: "topic raed a\n", err: acl.ErrAccess},
	{name: "upper case access", text: "topic READ a\n", err: acl.ErrAccess},
	{name: "two accesses", text: "topic read write a\n", want: []string{"read write a"}},
	{name: "empty topic", text: "topic\n", err: acl.ErrTopic},
	{name: "empty topic, white space behind", text: "topic  \t\n", err: acl.ErrTopic},
	{name: "empty pattern", text: "pattern\n", err: acl.ErrTopic},

	{name: "filters", text: "topic read #\ntopic read +\ntopic read a/#\ntopic read +/+/#\ntopic read /\ntopic read //\ntopic read /#\n",
		want: []string{"read #", "read +", "read a/#", "read +/+/#", "read /", "read //", "read /#"}},
	{name: "# before the end", text: "topic read a/#/b\n", err: acl.ErrTopic},
	{name: "# before a slash", text: "topic read #/\n", err: acl.ErrTopic},
	{name: "# in a level", text: "topic read a#\n", err: acl.ErrTopic},
	{name: "# at the start of a level", text: "topic read a/#b\n", err: acl.ErrTopic},
	{name: "+ in a level", text: "topic read a+/b\n", err: acl.ErrTopic},
	{name: "+ at the start of a level", text: "topic read +a\n", err: acl.ErrTopic},
	{name: "two +", text: "topic read ++\n", err: acl.ErrTopic},
	{name: "wildcards in a pattern", text: "pattern read %u+\n", err: acl.ErrTopic},
	{name: "wildcard in a topic without access", text: "topic a+\n", err: acl.ErrTopic},
	{name: "wildcard in a denial", text: "topic deny a/#/b\n", err: acl.ErrTopic},
	{name: "200 slashes", text: "topic read " + strings.Repeat("/", 200) + "\n", want: []string{"read " + strings.Repeat("/", 200)}},
	{name: "201 slashes", text: "topic read " + strings.Repeat("/", 201) + "\n", err: acl.ErrTopic},
	{name: "65535 bytes", text: "topic read " + strings.Repeat("a", 65535) + "\n", want: []string{"read " + strings.Repeat("a", 65535)}},
	{name: "65536 bytes", text: "topic read " + strings.Repeat("a", 65536) + "\n", err: acl.ErrTopic},
	{name: "bytes that are no UTF-8", text: "user \xff\xfe\ntopic read \x80\x01\n", want: []string{"user \xff\xfe", "read \x80\x01"}},
	{name: "shared subscription", text: "topic read $share/g/a\n", want: []string{"read $share/g/a"}},

	{name: "pattern below a user", text: "user a\npattern read b/%u\ntopic write c\n", want: []string{"user a", "write c"}},
	{name: "pattern without substitution", text: "pattern read b\n"},
	{name: "pattern without access", text: "pattern %c/b\n"},
	{name: "pattern that denies", text: "pattern deny %c/b\n"},

	{name: "anonymous rules", text: "topic read a\nuser b\ntopic read c\n", want: []string{"read a", "user b", "read c"}},
	{name: "blocks of one user", text: "user a\ntopic read b\nuser c\ntopic read d\nuser a\ntopic write e\nuser a\ntopic deny f\n",
		want: []string{"user a", "read b", "write e", "deny f", "user c", "read d"}},
	{name: "user without rules", text: "user a\nuser b\n", want: []string{"user a", "user b"}},
	{name: "spaces inside a name", text: "user bob  smith\n", want: []string{"user bob  smith"}},
	{name: "no comment after a name", text: "user bob # x\n", want: []string{"user bob # x"}},
	{name: "name that begins with #", text: "user #bob\n", want: []string{"user #bob"}},
	{name: "TAB before the name", text: "user \ta\n", want: []string{"user a"}},
	{name: "name of 2000 bytes", text: "user " + strings.Repeat("n", 2000) + "\n", want: []string{"user " + strings.Repeat("n", 2000)}},
	{name: "names that look like keywords", text: "user user\nuser topic read a\n", want: []string{"user user", "user topic read a"}},
	{name: "name with tenant", text: "user admin:24f6\n", want: []string{"user admin:24f6"}},
	{name: "no name", text: "user\n", err: acl.ErrUser},
	{name: "no name, white space behind", text: "user  \t\n", err: acl.ErrUser},

	// The broker loads these three and loses what follows.
	{name: "NUL in a comment", text: "# \x00\n", err: acl.ErrNUL},
	{name: "NUL in a rule", text: "topic read a\x00\n", err: acl.ErrNUL},
	{name: "NUL at the end", text: "topic read a\n\x00", err: acl.ErrNUL},
}

func TestParse(t *testing.T) {
	for _, tc := range grammar {
		t.Run(tc.name, func(t *testing.T) {
			f, err := acl.Parse("access.acl", []byte(tc.text))
			if !errors.Is(err, tc.err) {
				t.Fatalf("got error %v, want %v", err, tc.err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tc.want, content(f)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if got := text(t, f); got != tc.text {
				t.Errorf("wrote %q, want %q", got, tc.text)
			}
		})
	}
}

func TestParseWholeFiles(t *testing.T) {
	for _, path := range testdata(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := acl.Parse(path, data)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := text(t, f); got != string(data) {
			t.Errorf("%s: wrote %q", path, got)
		}
	}
}

func testdata(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.acl")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	return paths
}

// corpus returns the files in testdata/corpus.txt.
func corpus(t testing.TB) (files [][]byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		text, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		files = append(files, []byte(text))
	}
	return files
}

func TestSyntaxErrors(t *testing.T) {
	in := "# fine\nuser a\ntopic raed b\r\n\nuser\n topics x\ntopic read a/#/b"
	f, err := acl.Parse("access.acl", []byte(in))
	if f != nil || err == nil {
		t.Fatalf("got %v, %v, want errors", f, err)
	}
	var got []acl.SyntaxError
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		se := *e.(*acl.SyntaxError)
		se.Err = nil
		got = append(got, se)
	}
	want := []acl.SyntaxError{
		{File: "access.acl", Line: 3, Text: "topic raed b"},
		{File: "access.acl", Line: 5, Text: "user"},
		{File: "access.acl", Line: 6, Text: " topics x"},
		{File: "access.acl", Line: 7, Text: "topic read a/#/b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantText := `access.acl:3: unknown access "raed" (want read, write, readwrite or deny)
access.acl:5: user line without a name
access.acl:6: unknown keyword "topics" (want topic, pattern or user, then a space, or # in the first column)
access.acl:7: topic "a/#/b" is not a valid filter: "#" must be the last level`
	if err.Error() != wantText {
		t.Errorf("got %s\nwant %s", err, wantText)
	}
}

func TestSyntaxErrorsAreFewAndShort(t *testing.T) {
	bad := "x" + strings.Repeat("\xff", 1<<20) + "\n"
	_, err := acl.Parse("access.acl", []byte(strings.Repeat(bad, 12)))
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 10 {
		t.Errorf("%d errors, want 10", n)
	}
	if n := len(err.Error()); n > 10_000 {
		t.Errorf("message of %d bytes", n)
	}
	if se := (*acl.SyntaxError)(nil); !errors.As(err, &se) || len(se.Text) != 120 {
		t.Errorf("text of %d bytes, want 120", len(se.Text))
	}
}

// Files of some megabytes are read in several places at once.
func TestParseLargeFile(t *testing.T) {
	const users = 50_000
	var b strings.Builder
	var want []string
	for i := range users {
		user := deviceName(i)
		fmt.Fprintf(&b, "user %s\n# %060d\ntopic write %s\n", user, i, deviceTopic(i))
		want = append(want, "user "+user, "write "+deviceTopic(i))
	}
	b.WriteString("user " + deviceName(0) + "\ntopic read again\n")
	want = slices.Insert(want, 2, "read again")
	in := b.String()
	f := parse(t, in)
	if diff := cmp.Diff(want, content(f)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text(t, f) != in {
		t.Error("not written as it was read")
	}

	lines := strings.SplitAfter(in, "\n")
	var faulty []int
	for i := 1; i <= 12; i++ {
		n := i * len(lines) / 13
		lines[n-1] = "topics\n"
		faulty = append(faulty, n)
	}
	_, err := acl.Parse("access.acl", []byte(strings.Join(lines, "")))
	var got []int
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		got = append(got, e.(*acl.SyntaxError).Line)
	}
	if !slices.Equal(got, faulty[:10]) {
		t.Errorf("faults in lines %d, want %d", got, faulty[:10])
	}
}

func TestParseRule(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want acl.Rule
		err  error
	}{
		{in: "write /a/b", want: acl.Rule{Access: acl.Write, Topic: "/a/b"}},
		{in: "read a b/#", want: acl.Rule{Access: acl.Read, Topic: "a b/#"}},
		{in: "readwrite  #", want: acl.Rule{Access: acl.ReadWrite, Topic: "#"}},
		{in: "deny $SYS/+", want: acl.Rule{Access: acl.Deny, Topic: "$SYS/+"}},
		{in: "read", err: acl.ErrTopic},
		{in: "/a/b", err: acl.ErrAccess},
		{in: "", err: acl.ErrAccess},
		{in: " read a", err: acl.ErrAccess},
		{in: "read a\nuser b", err: acl.ErrTopic},
		{in: "read a+", err: acl.ErrTopic},
	} {
		got, err := acl.ParseRule(tc.in)
		if !errors.Is(err, tc.err) || err == nil && got != tc.want {
			t.Errorf("ParseRule(%q) = %v, %v, want %v, %v", tc.in, got, err, tc.want, tc.err)
		}
		if err == nil {
			if again, err := acl.ParseRule(got.String()); again != got || err != nil {
				t.Errorf("ParseRule(%q) = %v, %v, want %v", got.String(), again, err, got)
			}
		}
	}
}

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]string{
		"2.0.11": "2.0.11", "2.0": "2.0", "2.1.2": "2.1.2", "1.6.15": "1.6.15", "1.4.13": "1.4.13", "1.4": "1.4", "1.5.6": "1.5.6",
		"mosquitto version 2.0.11": "2.0.11",
		"mosquitto version 2.1.2\n\nmosquitto is an MQTT v5.0/v3.1.1/v3.1 broker.\n": "2.1.2",
		"mosquitto version 1.4.13 (build date 2017-07-10 10:53:22+0000)":             "1.4.13",
		"": "", "2": "", "2.0.11.1": "", "2.x": "", "2.0.-1": "", "2.0.11-1": "", "3.0.0": "", "2.2.0": "", "2.0.99999": "",
		"1.4.12": "", "1.3.5": "", "1.7.0": "", "0.15": "", "mosquitto version": "", "mosquitto 2.0.11": "", "2.0.65535": "",
	} {
		got, err := acl.ParseVersion(in)
		if want == "" {
			if err == nil {
				t.Errorf("ParseVersion(%q) = %v, want an error", in, got)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("ParseVersion(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
}
