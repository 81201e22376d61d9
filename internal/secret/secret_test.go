package secret_test

import (
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/secret"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadFile(t *testing.T) {
	for content, want := range map[string]string{
		"open sesame": "open sesame", "open sesame\n": "open sesame", "x\r\n": "x", " x ": " x ",
		"": "", "\n": "", "a\nb": "", "a\n\n": "", "a\x00": "",
	} {
		path := write(t, content)
		got, err := secret.ReadFile(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", content, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "a\nb")) {
			t.Errorf("%q: the error should name the file and not what is in it: %v", content, err)
		}
	}
	if _, err := secret.ReadFile("/nonexistent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestAdmits(t *testing.T) {
	token, err := secret.ReadToken(write(t, "open sesame\n"))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]bool{
		"Bearer open sesame": true, "bearer open sesame": true,
		"": false, "Bearer": false, "Bearer ": false, "Bearer open": false, "Bearer open sesame ": false,
		"Basic open sesame": false, "open sesame": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		if got := token.Admits(r); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
	if !(*secret.Token)(nil).Admits(httptest.NewRequest("GET", "/", nil)) {
		t.Error("without a token, somebody isn't admitted")
	}
	if _, err := secret.ReadToken(write(t, "")); err == nil {
		t.Error("an empty file is a token")
	}
}
