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
// are read. A read cannot be ended, so it is left behind, and the terminal is
// given back as it was.
func (s *settings) readSecrets(ctx context.Context, stdin *os.File, stderr io.Writer) error {
	state, _ := term.GetState(int(stdin.Fd())) // nil: no terminal
	read := make(chan error, 1)
	go func() { read <- s.askAll(stdin, stderr) }()
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
		if state != nil {
			term.Restore(int(stdin.Fd()), state)
			fmt.Fprintln(stderr)
		}
		return context.Cause(ctx)
	}
}

func (s *settings) askAll(stdin *os.File, stderr io.Writer) (err error) {
	if err := s.ask(stdin, stderr); err != nil {
		return err
	}
	if s.password, err = s.readPassword(stdin, stderr); err != nil || s.p12In == "" {
		return err
	}
	s.p12Password, err = firstLine(s.p12In)
	if err != nil {
		return fmt.Errorf("--p12-password-file: %w", err)
	}
	return nil
}

// ask completes the user name.
func (s *settings) ask(stdin *os.File, stderr io.Writer) error {
	if s.username != "" {
		return nil
	}
	if !term.IsTerminal(int(stdin.Fd())) {
		return &usageError{errors.New("want --username where there is no terminal to ask for it")}
	}
	fmt.Fprint(stderr, "enter your dojot username: ")
	line, err := readLine(stdin)
	s.username = line
	return err
}

// readPassword never reads the command line, which every user of the machine
// can read, too.
func (s *settings) readPassword(stdin *os.File, stderr io.Writer) (string, error) {
	if s.passwordIn != "" {
		password, err := firstLine(s.passwordIn)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		return password, nil
	}
	if !term.IsTerminal(int(stdin.Fd())) {
		return readLine(stdin)
	}
	// The echo goes off before the prompt appears: who is quick to answer
	// must not see the password.
	state, err := term.MakeRaw(int(stdin.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(stdin.Fd()), state)
	terminal := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{stdin, stderr}, "")
	password, err := terminal.ReadPassword(fmt.Sprintf("enter password for %s: ", s.username))
	if errors.Is(err, io.EOF) { // Ctrl-C is no signal while the terminal is raw
		return "", errors.New("no password was given")
	}
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	if password == "" {
		return "", errors.New("the password read is empty")
	}
	return password, nil
}

func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readLine(f)
}

// readLine reads a name or a password.
func readLine(r io.Reader) (string, error) {
	const longest = 4096
	line, err := bufio.NewReader(io.LimitReader(r, longest)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" && err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line == "" {
		return "", errors.New("the password (or user name) read is empty")
	}
	return line, nil
}
