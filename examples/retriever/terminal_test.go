package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/term"
)

// openTerminal returns both ends of a terminal: that of the program, and that
// of whoever looks at it.
func openTerminal(t *testing.T) (program, user *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal to be had here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	var locked, number int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Skipf("no terminal to be had here: %v", errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal to be had here: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	return program, user
}

// watch passes on what the terminal shows, until the program's end is closed.
func watch(user *os.File, out io.Writer) (ended <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(out, user)
	}()
	return done
}

// Who is asked for a name or a password can end the program instead, and has
// the terminal as it was.
func TestPromptsEnd(t *testing.T) {
	for _, tc := range []struct {
		prompt string
		args   []string
	}{
		{"enter your dojot username: ", nil},
		{"enter password for admin: ", []string{"-u", "admin"}},
	} {
		t.Run(tc.prompt, func(t *testing.T) {
			program, user := openTerminal(t)
			before, err := term.GetState(int(program.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := errors.New("asked to end")
			watch(user, &watched{until: tc.prompt, then: func() { cancel(ended) }})
			result := make(chan error, 1)
			go func() {
				result <- run(ctx, append([]string{"http://127.0.0.1:1", "24f6"}, tc.args...), program, io.Discard, io.Discard)
			}()
			select {
			case err := <-result:
				if !errors.Is(err, ended) {
					t.Errorf("got %v", err)
				}
			case <-time.After(patience):
				t.Fatal("it waits for an answer")
			}
			if after, err := term.GetState(int(program.Fd())); err != nil || !reflect.DeepEqual(before, after) {
				t.Errorf("the terminal was %v, is %v, %v", before, after, err)
			}
			user.WriteString("\n") // for the read that was left behind
		})
	}
}

// While an answer is typed, Ctrl-C is a key like others, and no answer. The
// error has a line of its own.
func TestCtrlCAtAPrompt(t *testing.T) {
	for _, tc := range []struct {
		prompt, want string
		args         []string
	}{
		{"enter your dojot username: ", "no user name was given", nil},
		{"enter password for admin: ", "no password was given", []string{"-u", "admin"}},
	} {
		t.Run(tc.prompt, func(t *testing.T) {
			program, user := openTerminal(t)
			out := &watched{until: tc.prompt, then: func() { user.WriteString("\x03") }}
			shown := watch(user, out)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := run(ctx, append([]string{"http://127.0.0.1:1", "24f6"}, tc.args...), program, io.Discard, program)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			program.Close()
			<-shown
			if got := out.String(); got != tc.prompt+"\r\n" {
				t.Errorf("shown %q", got)
			}
		})
	}
}

// Both answers may come at once, as from a paste, and only the name is shown.
func TestBothPrompts(t *testing.T) {
	program, user := openTerminal(t)
	out := &watched{until: "username: ", then: func() { user.WriteString("admin\rs3cret\r") }}
	shown := watch(user, out)
	s := &settings{}
	if err := s.readSecrets(t.Context(), program, program); err != nil {
		t.Fatal(err)
	}
	if s.username != "admin" || s.password != "s3cret" {
		t.Errorf("read %q and %q", s.username, s.password)
	}
	program.Close()
	<-shown
	const want = "enter your dojot username: admin\r\nenter password for admin: \r\n"
	if got := out.String(); got != want {
		t.Errorf("shown %q, want %q", got, want)
	}
}
