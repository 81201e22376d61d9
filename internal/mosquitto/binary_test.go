package mosquitto_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
)

// fake writes a program that stands where a broker is expected.
func fake(t *testing.T, dir, script string) string {
	t.Helper()
	path := filepath.Join(dir, "mosquitto")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindInstalled(t *testing.T) {
	b, err := mosquitto.Find(t.Context(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(b.Path) {
		t.Errorf("path %q is not absolute", b.Path)
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(b.Version) {
		t.Errorf("got version %q", b.Version)
	}
}

func TestFindVersion(t *testing.T) {
	tests := []struct {
		name, script, want, wantErr string
	}{
		{"2.0 exits with 3", "echo 'mosquitto version 2.0.11'; echo; exit 3", "2.0.11", ""},
		{"2.1 exits with 0", "echo 'mosquitto version 2.1.2'", "2.1.2", ""},
		{"candidate", "echo 'mosquitto version 2.1.0-rc1'", "2.1.0-rc1", ""},
		{"long help", "echo 'mosquitto version 2.0.21'; head -c 1000000 /dev/zero", "2.0.21", ""},
		{"another program", "echo mosquitto_sub version 2.0.11", "", `begins with "mosquitto_sub version 2.0.11"`},
		{"silent", "exit 0", "", `begins with ""`},
		{"no number", "echo 'mosquitto version '", "", "is no mosquitto broker"},
		{"no program text", "\x00", "", "is no mosquitto broker"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := fake(t, t.TempDir(), tt.script)
			got, err := mosquitto.Find(t.Context(), path)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if want := (mosquitto.Binary{Path: path, Version: tt.want}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestFindPrefersPATH(t *testing.T) {
	dir := t.TempDir()
	path := fake(t, dir, "echo mosquitto version 9.8.7")
	t.Setenv("PATH", dir)
	got, err := mosquitto.Find(t.Context(), "")
	if want := (mosquitto.Binary{Path: path, Version: "9.8.7"}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestFindMissing(t *testing.T) {
	for _, path := range []string{"/nowhere/mosquitto", "no-such-mosquitto"} {
		_, err := mosquitto.Find(t.Context(), path)
		if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("%s: got error %v, want one that is fs.ErrNotExist and exec.ErrNotFound", path, err)
		}
		if err == nil || !strings.Contains(err.Error(), "apt-get install mosquitto") {
			t.Errorf("%s: error %v does not say how to install one", path, err)
		}
	}
}

func TestFindNotExecutable(t *testing.T) {
	path := fake(t, t.TempDir(), "")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := mosquitto.Find(t.Context(), path); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got error %v, want fs.ErrPermission", err)
	}
}

func TestFindStopsWithContext(t *testing.T) {
	path := fake(t, t.TempDir(), "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := mosquitto.Find(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want context.DeadlineExceeded", err)
	}
}
