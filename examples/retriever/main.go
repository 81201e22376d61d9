// Retriever gets a device its key and certificate: it logs in to dojot, fetches
// the CA's certificate, makes a key and a certificate request, and has it
// signed. Arguments, options, file names and the order of steps are those of
// dojot's certificate retriever.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/provision"
)

const usage = `Usage: retriever HOST DEVICE CA [options]

Gets a device its key and certificate from dojot, into ./certs.

  HOST    where dojot is, with scheme and port: http://localhost:8000
  DEVICE  the device's id, as its certificate shall name it
  CA      the name of the CA: IOTmidCA

  retriever http://localhost:8000 24f6 IOTmidCA -u admin
  retriever https://dojot.example.com 24f6 IOTmidCA -u admin --password-file pw -d sensor.local -i 10.0.0.7

The password is asked for without echo. Where there is no terminal, it is the
first line of standard input, or of the file given.

Options:
`

// The exit statuses that scripts can tell apart.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, pflag.ErrHelp):
	case errors.As(err, new(*usageError)):
		fmt.Fprintln(os.Stderr, "retriever:", err)
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "retriever:", err)
		os.Exit(exitFailed)
	}
}

type usageError struct{ error }

type settings struct {
	host, device, ca      string
	username, passwordIn  string
	overwrite, skipVerify bool
	keyBits               int
	dns                   []string
	ips                   []net.IP
	certs                 string
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	flags := pflag.NewFlagSet("retriever", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard) // main prints the error once
	flags.StringVarP(&s.username, "username", "u", "", "your dojot user; asked for if not given")
	flags.StringVar(&s.passwordIn, "password-file", "", "a file whose first line is the password")
	flags.BoolVarP(&s.overwrite, "overwrite", "w", false, "make everything anew, whatever is there")
	flags.IntVarP(&s.keyBits, "key-length", "k", provision.DefaultKeyBits, "length of the RSA key, in bits")
	flags.StringArrayVarP(&s.dns, "dns", "d", nil, "a host name of the device, for its certificate; may be repeated")
	flags.IPSliceVarP(&s.ips, "ip", "i", nil, "an address of the device, for its certificate; may be repeated")
	flags.BoolVar(&s.skipVerify, "skip-https-check", false, "do not verify the certificate of HOST: whoever is in between gets your password")
	flags.StringVar(&s.certs, "certs", "certs", "the folder for the files")
	help := flags.BoolP("help", "h", false, "print this text")
	if err := flags.Parse(args); err != nil {
		return nil, &usageError{err}
	}
	if *help {
		fmt.Fprint(stderr, usage+flags.FlagUsages())
		return nil, pflag.ErrHelp
	}
	if flags.NArg() != 3 {
		return nil, &usageError{fmt.Errorf("want HOST DEVICE CA, got %d arguments (see --help)", flags.NArg())}
	}
	s.host, s.device, s.ca = strings.TrimRight(flags.Arg(0), "/"), flags.Arg(1), flags.Arg(2)
	u, err := url.Parse(s.host)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, &usageError{fmt.Errorf("HOST %q: want http:// or https:// and a host", s.host)}
	}
	if s.ca == "" || s.ca != filepath.Base(s.ca) || s.ca == s.device {
		return nil, &usageError{fmt.Errorf("CA %q: want a name, and not the device's, or their files would be the same", s.ca)}
	}
	return s, nil
}

func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if err := s.ask(stdin, stderr); err != nil {
		return err
	}
	password, err := s.password(stdin, stderr)
	if err != nil {
		return err
	}
	web := &http.Client{Timeout: time.Minute}
	if s.skipVerify {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		web.Transport = transport
	}
	login := &ejbca.Credentials{BaseURL: s.host, HTTPClient: web, Username: s.username, Password: password}
	if _, err := login.Token(ctx); err != nil {
		return fmt.Errorf("%w\n  %s", err, remedy(err))
	}
	fmt.Fprintln(stdout, "Authenticated")

	identity := provision.Identity{
		CommonName: s.device,
		DNSNames:   s.dns,
		IPs:        s.ips,
		KeyBits:    s.keyBits,
		Files:      provision.DeviceFiles(s.certs, s.device, s.ca),
		Overwrite:  s.overwrite,
	}
	identity.Report = func(step provision.Step) { s.report(stdout, identity.Files, step) }
	issuer := &ejbca.Issuer{
		Client:   &ejbca.Client{BaseURL: s.host, HTTPClient: web, Token: login.Token},
		CA:       s.ca,
		User:     s.device,
		Password: enrolmentPassword,
	}
	if _, err := identity.Ensure(ctx, issuer); err != nil {
		return fmt.Errorf("%w\n  %s", err, remedy(err))
	}
	return nil
}

// enrolmentPassword is the one with which dojot registers every device.
const enrolmentPassword = "dojot"

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

// password never comes from the command line, which every user of the machine
// can read.
func (s *settings) password(stdin *os.File, stderr io.Writer) (string, error) {
	if s.passwordIn != "" {
		f, err := os.Open(s.passwordIn)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		defer f.Close()
		return readLine(f)
	}
	if !term.IsTerminal(int(stdin.Fd())) {
		return readLine(stdin)
	}
	fmt.Fprintf(stderr, "enter password for %s: ", s.username)
	password, err := term.ReadPassword(int(stdin.Fd()))
	fmt.Fprintln(stderr)
	return string(password), err
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

// report says what became of a file, in the original's words where it had
// some.
func (s *settings) report(w io.Writer, files provision.Files, step provision.Step) {
	what := map[string]struct{ kept, made string }{
		files.CA:   {"CA Certificate file", "CA certificates retrieved to %s"},
		files.Key:  {"Key pair", s.device + " key pair created at %s"},
		files.CSR:  {"CSR file", s.device + " certificate request created at %s"},
		files.Cert: {"Certificate file", s.device + " certificate signed. Available at %s"},
		files.CRL:  {"CRL file", "CRL retrieved to %s"},
	}[step.Path]
	if step.Action == provision.Kept {
		fmt.Fprintf(w, "%s already exists at %s. Skipping.\n", what.kept, step.Path)
		return
	}
	fmt.Fprintf(w, what.made, step.Path)
	if step.Reason != "" {
		fmt.Fprintf(w, " (the old one: %s)", step.Reason)
	}
	fmt.Fprintln(w)
}

// remedy says what to do about an error of dojot.
func remedy(err error) string {
	switch {
	case errors.Is(err, ejbca.ErrGenerated):
		return "the device has its certificate already; to enrol it again, remove it from dojot and add it anew"
	case errors.Is(err, ejbca.ErrDenied):
		return "wrong user or password, or your user is not allowed to do this"
	case errors.Is(err, ejbca.ErrNotFound):
		return "check the names of CA and device; a device has to be created in dojot first"
	case errors.Is(err, ejbca.ErrUnavailable):
		return "check HOST, and that dojot's gateway, auth and EJBCA-REST run"
	default:
		return "nothing that was in use has been changed"
	}
}
