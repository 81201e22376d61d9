package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// readSecrets completes user name and passwords, unless ctx ends before they
// are read. A read cannot be ended and is left behind. So it is not the reader
// who sets the terminal and gives it back as it was. What is asked is shown on
// it even if stderr is somewhere else: nobody would see it there.
func (s *settings) readSecrets(ctx context.Context, stdin *os.File, stderr io.Writer) error {
	var terminal *term.Terminal // nil: nobody to ask
	if fd := int(stdin.Fd()); term.IsTerminal(fd) && (s.username == "" || s.passwordIn == "") {
		// The echo goes off before the first prompt appears: who is quick to
		// answer must not see the password.
		state, err := term.MakeRaw(fd)
		if err != nil {
			return fmt.Errorf("setting the terminal: %w", err)
		}
		defer term.Restore(fd, state)
		if !isTerminal(stderr) {
			stderr = stdin
		}
		terminal = term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{stdin, stderr}, "")
	}
	read := make(chan error, 1)
	go func() { read <- s.ask(terminal, stdin) }()
	var err error
	select {
	case err = <-read:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil && terminal != nil {
		io.WriteString(stderr, "\r\n")
	}
	return err
}

func (s *settings) ask(terminal *term.Terminal, stdin io.Reader) (err error) {
	if s.username == "" {
		if s.username, err = askUsername(terminal); err != nil {
			return err
		}
	}
	if s.password, err = s.readPassword(terminal, stdin); err != nil || s.p12In == "" {
		return err
	}
	s.p12Password, err = firstLine(s.p12In)
	if err != nil {
		return fmt.Errorf("--p12-password-file: %w", err)
	}
	return nil
}

func askUsername(terminal *term.Terminal) (string, error) {
	if terminal == nil {
		return "", &usageError{errors.New("want --username where there is no terminal to ask for it")}
	}
	terminal.SetPrompt("enter your dojot username: ")
	typed, err := terminal.ReadLine()
	return answer("user name", typed, err)
}

// readPassword never reads the command line, which every user of the machine
// can read, too.
func (s *settings) readPassword(terminal *term.Terminal, stdin io.Reader) (string, error) {
	switch {
	case s.passwordIn != "":
		password, err := firstLine(s.passwordIn)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		return password, nil
	case terminal == nil:
		return readLine(stdin)
	}
	typed, err := terminal.ReadPassword(fmt.Sprintf("enter password for %s: ", s.username))
	return answer("password", typed, err)
}

// answer checks what was typed. Ctrl-C is no signal while the terminal is raw,
// but ends the line like an end of file.
func answer(what, typed string, err error) (string, error) {
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	if err != nil || typed == "" {
		return "", fmt.Errorf("no %s was given", what)
	}
	return typed, nil
}

func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readLine(f)
}

// readLine reads a password.
func readLine(r io.Reader) (string, error) {
	const longest = 4096
	line, err := bufio.NewReader(io.LimitReader(r, longest)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" && err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line == "" {
		return "", errors.New("the password read is empty")
	}
	return line, nil
}
