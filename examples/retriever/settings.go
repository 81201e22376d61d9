package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

const usage = `Usage: retriever HOST DEVICE [CA] [options] [-- HOOK ARGUMENT...]

Gets devices their keys and certificates from dojot, into ./certs. Run it again
as often as you like: what is good stays, what is missing, expired, about to
expire or revoked is made anew, and an interrupted run is taken up.

  HOST    where dojot is, with scheme and port: http://localhost:8000
  DEVICE  the device's id; or several: 24f6,a1b2 or dev[001-100], or @file with
          one a line
  CA      the name of the CA, if not IOTmidCA
  HOOK    a program to run when a device's own files have changed. For those
          that devices share, the CA's certificate and revocation list, it is
          run once, for the device that came first. It is not given to a shell.
          RETRIEVER_DEVICE, _KEY, _CERT and _CA are in its environment. If it
          fails, the next run that has a HOOK runs it again; after 5 minutes it
          is killed and has failed.

One device:
  retriever http://localhost:8000 24f6 -u admin
  retriever https://dojot.example.com 24f6 IOTmidCA -u admin --password-file pw -d sensor.local -i 10.0.0.7

A thousand, with a report:
  retriever http://localhost:8000 'dev[0001-1000]' IOTmidCA -u admin --password-file pw --report report.json

Once a day from root's cron, and a service of another user's that is told:
  retriever http://localhost:8000 24f6 IOTmidCA -u admin --password-file pw --renew --owner sensor -- systemctl reload sensor

One retriever at a time works in a folder. When it is asked to end, it begins no
other device and gives those under way 10 seconds; asked again, it ends at once.

The password is asked for without echo. Where there is no terminal, it is the
first line of standard input, or of the file given.

Exit status: 0 all is in order, 1 something failed, 2 the command line is wrong,
3 dojot denied it, 4 dojot does not answer, 5 HOOK or the PKCS #12 file failed.

Options:
`

type usageError struct{ error }

type settings struct {
	host, ca              string
	devices               []string
	username, passwordIn  string
	overwrite, skipVerify bool
	keyType               provision.KeyType
	keyBits               int
	dns                   []string
	ips                   []net.IP
	certs                 string
	owner                 *provision.Owner
	keyMode               fs.FileMode // of what has a key in it
	template              string
	register              bool
	renew, daemon, plan   bool
	parallel              int
	reportTo, p12In       string
	hook                  []string

	password, p12Password string
	tenant                string
}

func parse(args []string, stdout io.Writer) (*settings, error) {
	s := &settings{keyMode: 0o600}
	flags := pflag.NewFlagSet("retriever", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard) // main prints the error once
	flags.StringVarP(&s.username, "username", "u", "", "your dojot user; asked for if not given")
	flags.StringVar(&s.ca, "caname", "", "the name of the CA, for those who do not give it as an argument")
	flags.StringVar(&s.passwordIn, "password-file", "", "a file whose first line is the password")
	flags.BoolVarP(&s.overwrite, "overwrite", "w", false, "make everything anew, whatever is there")
	keyType := flags.String("key-type", provision.RSA.String(), "rsa, or p256 where the CA's profile takes it (dojot's does not)")
	flags.IntVarP(&s.keyBits, "key-length", "k", 0, "length of the RSA key, in bits (default 2048)")
	flags.StringArrayVarP(&s.dns, "dns", "d", nil, "a host name of the device, for its certificate; may be repeated")
	flags.IPSliceVarP(&s.ips, "ip", "i", nil, "an address of the device, for its certificate; may be repeated")
	flags.BoolVar(&s.skipVerify, "skip-https-check", false, "do not verify the certificate of HOST: whoever is in between gets your password")
	flags.StringVar(&s.certs, "certs", "certs", "the folder for the files")
	owner := flags.String("owner", "", "USER, USER:GROUP or :GROUP to whom the files are to belong, by name or number, for a service that does not run as you; keys are for USER alone, or for the GROUP, too, if there is one")
	flags.StringVar(&s.template, "common-name", "{device}", "the certificate's common name: {device} and {tenant} are filled in; dojot 0.5 wants {tenant}:{device}")
	flags.BoolVar(&s.register, "register", false, "register the device at the CA first, so that it may enrol, again too; takes an administrator's rights")
	flags.BoolVar(&s.plan, "plan", false, "say what would be done, judging by the files alone, and do nothing")
	flags.BoolVar(&s.renew, "renew", false, "for cron: say nothing about what stays")
	flags.BoolVar(&s.daemon, "daemon", false, "do not end, but keep the devices' files fresh")
	flags.IntVar(&s.parallel, "parallel", 0, "how many devices to work on at once (default: some for each processor)")
	flags.StringVar(&s.reportTo, "report", "", "a file for a report in JSON; - is standard output, and then all else goes to standard error")
	flags.StringVar(&s.p12In, "p12-password-file", "", "write key, certificate and CA to DEVICE.p12, too, with the password in the first line of this file")
	help := flags.BoolP("help", "h", false, "print this text")
	likeOriginal(flags)
	if err := flags.Parse(originalArgs(args)); err != nil {
		return nil, &usageError{err}
	}
	if *help {
		fmt.Fprint(stdout, usage+flags.FlagUsages())
		return nil, pflag.ErrHelp
	}
	positional := flags.Args()
	if n := flags.ArgsLenAtDash(); n >= 0 {
		positional, s.hook = positional[:n], positional[n:]
	}
	switch {
	case len(positional) < 2 || len(positional) > 3:
		return nil, &usageError{fmt.Errorf("want HOST DEVICE [CA], got %d arguments (see --help)", len(positional))}
	case len(positional) == 3 && s.ca != "":
		return nil, &usageError{errors.New("--caname: want the CA once, or as an argument")}
	case len(positional) == 3:
		s.ca = positional[2]
	case s.ca == "":
		s.ca = ejbca.DefaultCA
	}
	if flags.Changed("owner") {
		var err error
		if s.owner, s.keyMode, err = parseOwner(*owner); err != nil {
			return nil, &usageError{fmt.Errorf("--owner %q: %w", *owner, err)}
		}
	}
	if err := s.check(positional, *keyType); err != nil {
		return nil, &usageError{err}
	}
	return s, nil
}

// originals are the options of dojot's certificate retriever, which takes them
// abbreviated.
var originals = []string{"username", "overwrite", "dns", "ip", "key-length", "skip-https-check", "caname", "help"}

// likeOriginal lets the original's options be abbreviated, as there.
func likeOriginal(flags *pflag.FlagSet) {
	known := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		for _, long := range originals {
			if !known[name] && name != "" && strings.HasPrefix(long, name) {
				return pflag.NormalizedName(long)
			}
		}
		return pflag.NormalizedName(name)
	})
}

// originalArgs writes the original's -ca, a short option of two letters, as
// the long one.
func originalArgs(args []string) []string {
	end := slices.Index(args, "--")
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "-ca" && (end < 0 || i < end) {
			args[i] = "--caname"
		}
	}
	return args
}

func (s *settings) check(positional []string, keyType string) (err error) {
	s.host = strings.TrimRight(positional[0], "/")
	u, err := url.Parse(s.host)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(s.host, "?#") || (u.Scheme != "http" && u.Scheme != "https") {
		// It is not quoted, and neither is err, which quotes it: it may have a
		// password in it.
		return errors.New("HOST: want http:// or https:// and a host, without user, query or fragment")
	}
	if s.devices, err = enrol.Devices(positional[1]); err != nil {
		return err
	}
	if s.keyType, err = provision.ParseKeyType(keyType); err != nil {
		return err
	}
	if strings.ContainsAny(strings.NewReplacer("{device}", "", "{tenant}", "").Replace(s.template), "{}") {
		return fmt.Errorf("--common-name %q: want no braces but those of {device} and {tenant}", s.template)
	}
	if len(s.devices) > 1 && !strings.Contains(s.template, "{device}") {
		return fmt.Errorf("--common-name %q: want {device} in it, or all devices would be one", s.template)
	}
	if s.plan && strings.Contains(s.template, "{tenant}") {
		return errors.New("--plan: want a --common-name without {tenant}, which only a login tells")
	}
	if s.daemon && s.overwrite {
		return errors.New("--daemon and --overwrite: want one of them, or certificates would be made for ever")
	}
	if s.renew && s.overwrite {
		return errors.New("--renew and --overwrite: want one of them, or certificates would be made each time")
	}
	if s.daemon && (s.reportTo != "" || s.plan) {
		return errors.New("--daemon: want none of --report and --plan, which are for a run that ends")
	}
	inputs := []input{{"--password-file", s.passwordIn}, {"--p12-password-file", s.p12In}}
	for part := range strings.SplitSeq(positional[1], ",") {
		if path, ok := strings.CutPrefix(part, "@"); ok {
			inputs = append(inputs, input{"devices", path})
		}
	}
	if err := checkReport(s.reportTo, inputs); err != nil {
		return fmt.Errorf("--report %s: %w", s.reportTo, err)
	}
	// The identities are made from all of the above; what cannot be used
	// shows before anybody is asked for a password.
	r := &retriever{settings: s}
	for _, device := range s.devices {
		if err := r.identity(device).Validate(); err != nil {
			return err
		}
	}
	return nil
}

// commonName fills in the template.
func (s *settings) commonName(device string) string {
	return strings.NewReplacer("{device}", device, "{tenant}", s.tenant).Replace(s.template)
}

// findTenant takes the tenant from dojot's token, as its agents do.
func (s *settings) findTenant(token string) error {
	if !strings.Contains(s.template, "{tenant}") {
		return nil
	}
	claims, err := ejbca.ParseToken(token)
	if err == nil && claims.Tenant == "" {
		err = errors.New("dojot's token names no tenant")
	}
	if err != nil {
		return fmt.Errorf("--common-name: %w", err)
	}
	s.tenant = claims.Tenant
	return nil
}
