// Retriever gets devices their keys and certificates, and keeps them good: it
// logs in to dojot, fetches the CA's certificate, makes a key and a certificate
// request, and has it signed. Arguments, options, file names and the order of
// steps are those of dojot's certificate retriever.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

// The exit statuses that scripts can tell apart.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitDenied      = 3
	exitUnavailable = 4
	exitHook        = 5
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	// Devices are seen to even if nobody reads what is said of them, as after
	// "| head". To ignore the signal would do, but hooks would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	enrol.Oversubscribe()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "retriever:", err)
		os.Exit(status(err))
	}
}

func status(err error) int {
	switch {
	case errors.As(err, new(*usageError)):
		return exitUsage
	case errors.Is(err, ejbca.ErrDenied):
		return exitDenied
	case errors.Is(err, ejbca.ErrUnavailable):
		return exitUnavailable
	case errors.As(err, new(*provision.HookError)):
		return exitHook
	}
	return exitFailed
}

// retriever is one run.
type retriever struct {
	*settings
	stdout, stderr io.Writer
	reportOut      io.Writer // for --report -
	log            *slog.Logger
	web            *http.Client
	login          *ejbca.Credentials
}

func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) error {
	s, err := parse(args, stdout)
	if err != nil {
		return err
	}
	r := &retriever{settings: s, stdout: stdout, stderr: stderr, reportOut: stdout,
		log: slog.New(slog.NewTextHandler(stderr, nil)), web: newWeb(s.skipVerify)}
	if onStdout(s.reportTo) {
		r.stdout = stderr
	}
	if s.plan {
		return r.showPlan()
	}
	if err := s.readSecrets(ctx, stdin, stderr); err != nil {
		return err
	}
	r.login = &ejbca.Credentials{BaseURL: s.host, HTTPClient: r.web, Username: s.username, Password: s.password}
	token, err := r.logIn(ctx)
	if err != nil && s.daemon && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if !s.renew {
		fmt.Fprintln(r.stdout, "Authenticated")
	}
	if err := s.findTenant(token); err != nil {
		return err
	}
	if s.daemon {
		r.keep(ctx)
		return nil
	}
	return r.once(ctx)
}

func newWeb(skipVerify bool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns // there is one host, for many devices at once
	if skipVerify {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// job sees to all devices once.
func (r *retriever) job() *enrol.Run {
	shared := &enrol.Shared{CA: r.issuer("")}
	job := &enrol.Run{Devices: r.devices, Parallel: r.parallel, Renewer: func(device string) *provision.Renewer {
		return r.renewer(device, shared.For(r.issuer(device)))
	}}
	if r.p12Password != "" {
		job.Also = r.completeP12
	}
	return job
}

// once does it and says what became of them.
func (r *retriever) once(ctx context.Context) error {
	job := r.job()
	many := len(r.devices) > 1
	bar := many && isTerminal(r.stderr) && !r.renew && len(r.hook) == 0 // which may print on its line
	switch {
	case bar:
		job.Done = (&enrol.Bar{W: r.stderr, Total: len(r.devices)}).Done
	case many:
		job.Done = r.tell
	}
	report, err := r.do(ctx, job)
	if err != nil {
		return err
	}
	reportErr := r.saveReport(report)
	if bar {
		r.nameFailed(report)
	}
	r.warn(report)
	if many {
		return errors.Join(r.summarize(report), reportErr)
	}
	return errors.Join(withRemedy(report.Err()), reportErr)
}

// nameFailed says of whom a bar only counted what is wrong with them, but no
// more than fit on a terminal.
func (r *retriever) nameFailed(report *enrol.Report) {
	const most = 10
	failed := slices.DeleteFunc(slices.Clone(report.Devices), func(d enrol.Result) bool { return d.Status != enrol.Failed })
	for _, d := range failed[:min(most, len(failed))] {
		r.tell(d)
	}
	if more := len(failed) - most; more > 0 {
		fmt.Fprintf(r.stderr, "and %d more; --report says it of all\n", more)
	}
}

// warn says each thing once: what is wrong with the CA is so for all devices.
func (r *retriever) warn(report *enrol.Report) {
	devices := map[string][]string{}
	for _, d := range report.Devices {
		devices[d.Warning] = append(devices[d.Warning], d.Device)
	}
	delete(devices, "")
	for _, warning := range slices.Sorted(maps.Keys(devices)) {
		who := devices[warning][0]
		if more := len(devices[warning]) - 1; more > 0 {
			who = fmt.Sprintf("%s and %d more", who, more)
		}
		fmt.Fprintf(r.stderr, "retriever: %s: warning: %s\n", who, warning)
	}
}

// keep keeps all devices fresh until ctx ends.
func (r *retriever) keep(ctx context.Context) {
	enrol.Keep(ctx, r.log, func(done func(enrol.Result)) (*enrol.Report, error) {
		job := r.job()
		job.Done = done
		return r.do(ctx, job)
	})
}

// completeP12 judges by the file, not by what this run has changed: the
// certificate may have been there before the file was asked for.
func (r *retriever) completeP12(device string) error {
	if err := r.saveP12(device); err != nil {
		return &provision.HookError{Err: err}
	}
	return nil
}

func (r *retriever) saveP12(device string) error {
	attr := durable.Attr{Mode: r.keyMode, Owner: (*durable.Owner)(r.owner)}
	return saveP12(r.p12Path(device), r.p12Password, r.identity(device).Files, attr)
}

func (r *retriever) p12Path(device string) string { return filepath.Join(r.certs, device+".p12") }

// summarize says how many devices came to what, and gives the first error an
// exit status.
func (r *retriever) summarize(report *enrol.Report) error {
	if !r.renew {
		var parts []string
		for _, s := range []enrol.Status{enrol.Made, enrol.Renewed, enrol.Kept, enrol.Failed, enrol.Skipped} {
			if n := report.Count[s]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, s))
			}
		}
		fmt.Fprintln(r.stdout, strings.Join(parts, ", "))
	}
	for _, d := range report.Devices {
		if d.Err != nil {
			return withRemedy(fmt.Errorf("%d of %d devices failed, the first is %s: %w",
				report.Count[enrol.Failed]+report.Count[enrol.Skipped], len(r.devices), d.Device, d.Err))
		}
	}
	return nil
}

// tell is a line for a device among many.
func (r *retriever) tell(d enrol.Result) {
	switch {
	case d.Err != nil:
		fmt.Fprintf(r.stderr, "%s: %s\n", d.Device, d.Error)
	case d.Status == enrol.Kept && r.renew:
	case d.Reason != "":
		fmt.Fprintf(r.stdout, "%s: %s (the old one: %s)\n", d.Device, d.Status, d.Reason)
	default:
		fmt.Fprintf(r.stdout, "%s: %s\n", d.Device, d.Status)
	}
}

func (r *retriever) issuer(device string) *ejbca.Issuer {
	return &ejbca.Issuer{
		Client:   &ejbca.Client{BaseURL: r.host, HTTPClient: r.web, Token: r.login.Token},
		CA:       r.ca,
		User:     r.commonName(device),
		Password: enrolmentPassword,
		Register: r.register,
	}
}

// enrolmentPassword is the one with which dojot registers every device.
const enrolmentPassword = "dojot"

func (r *retriever) identity(device string) *provision.Identity {
	return &provision.Identity{
		CommonName: r.commonName(device),
		DNSNames:   r.dns,
		IPs:        r.ips,
		KeyType:    r.keyType,
		KeyBits:    r.keyBits,
		Files:      provision.DeviceFiles(r.certs, device, r.ca),
		Overwrite:  r.overwrite,
		Owner:      r.owner,
		KeyMode:    r.keyMode,
	}
}

func (r *retriever) renewer(device string, ca provision.CA) *provision.Renewer {
	identity := r.identity(device)
	if len(r.devices) == 1 && !r.daemon {
		identity.Report = func(step provision.Step) { r.report(identity.Files, step) }
	}
	renewer := &provision.Renewer{Identity: identity, CA: ca}
	if len(r.hook) > 0 {
		renewer.Changed = func(ctx context.Context) error { return r.changed(ctx, device, identity.Files) }
	}
	return renewer
}

// changed is what follows a change of a device's files. The hook may use the
// PKCS #12 file.
func (r *retriever) changed(ctx context.Context, device string, files provision.Files) error {
	if r.p12Password != "" {
		if err := r.saveP12(device); err != nil {
			return err
		}
	}
	return runHook(ctx, r.hook, device, files, r.stderr)
}

// report says what became of a file, in the original's words where it had
// some.
func (r *retriever) report(files provision.Files, step provision.Step) {
	device := r.devices[0]
	what := map[string]struct{ kept, made string }{
		files.CA:   {"CA Certificate file", "CA certificates retrieved to %s"},
		files.Key:  {"Key pair", device + " key pair created at %s"},
		files.CSR:  {"CSR file", device + " certificate request created at %s"},
		files.Cert: {"Certificate file", device + " certificate signed. Available at %s"},
		files.CRL:  {"CRL file", "CRL retrieved to %s"},
	}[step.Path]
	if step.Action == provision.Kept {
		if !r.renew {
			fmt.Fprintf(r.stdout, "%s already exists at %s. Skipping.\n", what.kept, step.Path)
		}
		return
	}
	fmt.Fprintf(r.stdout, what.made, step.Path)
	if step.Reason != "" {
		fmt.Fprintf(r.stdout, " (the old one: %s)", step.Reason)
	}
	fmt.Fprintln(r.stdout)
}

// showPlan says what a run would do, from what is on disk.
func (r *retriever) showPlan() error {
	var errs []error
	for _, device := range r.devices {
		steps, err := r.identity(device).Plan()
		for _, s := range steps {
			verb := "keep"
			if s.Action == provision.Made {
				verb = "make"
			}
			if s.Reason != "" {
				fmt.Fprintf(r.stdout, "%s %s (the old one: %s)\n", verb, s.Path, s.Reason)
			} else {
				fmt.Fprintln(r.stdout, verb, s.Path)
			}
		}
		r.planAfter(device)
		errs = append(errs, err)
	}
	return withRemedy(errors.Join(errs...))
}

// planAfter names what an earlier run has left to do, besides the identity.
func (r *retriever) planAfter(device string) {
	if _, err := os.Lstat(r.p12Path(device)); r.p12In != "" && errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(r.stdout, "make", r.p12Path(device))
	}
	if r.renewer(device, nil).Pending() {
		fmt.Fprintf(r.stdout, "run %q for %s (an earlier hook has not succeeded)\n", r.hook[0], device)
	}
}

// withRemedy adds what to do about an error of dojot.
func withRemedy(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n  %s", err, remedy(err))
}

func remedy(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "the next run goes on where this one was ended"
	case errors.As(err, new(*provision.HookError)):
		return "key and certificate are in order; what failed will be tried again by the next run"
	case errors.As(err, new(*provision.FieldError)):
		return "nothing has been written for it"
	case errors.Is(err, ejbca.ErrGenerated):
		return "the device has its certificate already; to enrol it again, remove it from dojot and add it anew, or use --register"
	case errors.Is(err, ejbca.ErrKey):
		return "the key is kept; to have another made in its place that the CA takes, run this for the device alone with -w --key-type rsa --key-length 2048"
	case errors.Is(err, ejbca.ErrDenied):
		return "your user is not allowed to do this, or the device's password at the CA is not dojot's"
	case errors.Is(err, ejbca.ErrNotFound):
		return "check the names of CA and device; a device has to be created in dojot first"
	case errors.Is(err, ejbca.ErrUnavailable):
		return "check HOST, and that dojot's gateway, auth and EJBCA-REST run"
	case isUnfitKey(err):
		return "what is there is kept; bring the key back from a copy, or have another made in its place, by a run for the device alone with -w"
	case errors.As(err, new(*provision.StepError)):
		return "whoever failed keeps the key and certificate that were there"
	default:
		return "nothing has been changed"
	}
}

// isUnfitKey tells a file that is no key from one that cannot be read or
// written now.
func isUnfitKey(err error) bool {
	step, ok := errors.AsType[*provision.StepError](err)
	return ok && step.Step == provision.StepKey && !errors.As(err, new(*fs.PathError))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
