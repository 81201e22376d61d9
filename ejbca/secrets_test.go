package ejbca

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// encodings are how a service may write what it was sent.
var encodings = map[string]func(string) string{
	"raw":       func(s string) string { return s },
	"JSON":      marshal,
	"plainJSON": plainJSON,
	"ASCII":     asciiJSON,
	"HTML":      html.EscapeString,
	"hex HTML": func(s string) string {
		return strings.NewReplacer("<", "&#x3C;", `"`, "&#x22;", "&", "&#38;").Replace(s)
	},
	"query":     url.QueryEscape,
	"path":      url.PathEscape,
	"JSON JSON": func(s string) string { return marshal(marshal(s)) },
	"JSON HTML": func(s string) string { return html.EscapeString(plainJSON(s)) },
	"HTML JSON": func(s string) string { return marshal(html.EscapeString(s)) },
	"HTML HTML": func(s string) string { return html.EscapeString(html.EscapeString(s)) },
	"JSON URL":  func(s string) string { return url.QueryEscape(plainJSON(s)) },
	"Go":        func(s string) string { return unquoted(strconv.Quote(s)) },
	"Go ASCII":  func(s string) string { return unquoted(strconv.QuoteToASCII(s)) },
	"URL URL":   func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
}

func marshal(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return unquoted(string(text))
}

func unquoted(s string) string { return s[1 : len(s)-1] }

func plainJSON(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return unquoted(strings.TrimSuffix(b.String(), "\n"))
}

// asciiJSON is what Python writes.
func asciiJSON(s string) string {
	var b strings.Builder
	for _, r := range plainJSON(s) {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// A password may be a word of what the service says.
func TestKindsOutliveSecrets(t *testing.T) {
	for text, kind := range map[string]error{
		"Got request for user with invalid password: a.": ErrDenied,
		"CA with name a does not exist.":                 ErrNotFound,
		"Got request with status GENERATED (40).":        ErrGenerated,
		"Illegal key length: 1024":                       ErrKey,
		"Certificate is already revoked. ":               ErrRevoked,
	} {
		for _, word := range strings.Fields(text) {
			e := &Error{StatusCode: http.StatusBadRequest}
			e.say([]byte(`{"message":"soap message: `+text+`"}`), secrets{word})
			if !errors.Is(e, kind) || strings.Contains(e.Message, word) && len(word) > 2 {
				t.Errorf("%q without %q: %v, want %v", text, word, e, kind)
			}
		}
	}
}

// A page may be cut through a secret.
func TestSecretsAtACut(t *testing.T) {
	const secret = "correct-horse-battery"
	for left := range len(secret) + 1 {
		page := "<html>" + strings.Repeat(" ", maxSearched-len("<html>")-left) + secret + strings.Repeat("<br/>", 20_000)
		if got := messageOf([]byte(page), secrets{secret}); strings.Contains(got, secret[:1]) {
			t.Errorf("cut after %d bytes of it: %q", left, got)
		}
	}
}

func TestSecretsHide(t *testing.T) {
	for _, secret := range []string{
		"plain", `qu"ote`, "a&b<c>d", "it's", "two  blanks", "tab\tand\nline", "ümläut", "😀", "<tag>", `back\slash\\`, "50%+/=", "a[b]*$1", "&amp;", "\xff", "a\x7fb", "a\ab", "a\U000e0001b",
		"eyJ0eXAi.eyJzZXJ2aWNl.c2ln-_",
	} {
		for name, encode := range encodings {
			said := fmt.Sprintf("before[%s]after[%[1]s]", encode(string([]rune(secret))))
			if got := (secrets{"", secret}).hide(said); got != "before[…]after[…]" {
				t.Errorf("%q as %s: %s became %s", secret, name, said, got)
			}
		}
		if got := (secrets{secret}).hide(strings.Join(strings.Fields(secret), " ")); got != "…" {
			t.Errorf("%q with blanks collapsed became %s", secret, got)
		}
	}
	if got := (secrets{"", "sesame"}).hide("Sesame oil"); got != "Sesame oil" {
		t.Errorf("got %q", got)
	}
	if got := (secrets{strings.Repeat("%", maxPattern)}).hide("text"); got != "…" {
		t.Errorf("a secret that is too long to be looked for: got %q, want nothing of the text", got)
	}
}

func TestSecretsHideIn(t *testing.T) {
	plain := fmt.Errorf("it broke: %w", io.ErrUnexpectedEOF)
	if got := (secrets{"sesame"}).hideIn(plain); got != plain {
		t.Errorf("got %v, want the error as it was", got)
	}
	got := (secrets{"sesame"}).hideIn(fmt.Errorf("it broke at \"sesame\" %s: %w", strings.Repeat("x", 1<<20), io.ErrUnexpectedEOF))
	if !errors.Is(got, io.ErrUnexpectedEOF) || !strings.HasPrefix(got.Error(), `it broke at "…" xxx`) || len(got.Error()) > 2*maxMessage {
		t.Errorf("got %.400v", got)
	}
}

// None of a secret is left, whatever it consists of.
func FuzzSecretsHide(f *testing.F) {
	for _, secret := range []string{"x", `"`, "\\u0022", "& amp;", "%25", " \t ", "\xff\x00", "😀"} {
		f.Add(secret)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		if len(secret) == 0 || len(secret) > 50 || strings.ContainsAny(secret, "[]…") {
			return // what the frame and the mark consist of
		}
		for name, encode := range encodings {
			said := "[" + encode(string([]rune(secret))) + "]" // what is sent is UTF-8
			if got := (secrets{secret}).hide(said); got != "[…]" {
				t.Errorf("%q as %s: %q became %q", secret, name, said, got)
			}
		}
	})
}
