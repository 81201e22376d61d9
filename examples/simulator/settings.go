package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/dojot/mqtt-manager-go/provision"
)

const usage = `Usage: simulator --tenant TENANT --device DEVICE [options]
       simulator --cert FILE --key FILE --cafile FILE -t TOPIC [options]

Publishes a message as a device, and receives messages with --subscribe. If the
broker refuses it, says why and what to do.

  simulator --tenant admin --device 24f6
  simulator --tenant admin --device 24f6 -m '{"rain": 3.5}' -q 0
  simulator --device iotagent --subscribe '/#'

Where the broker's own files can be read, it knows more: which line of the rules
is missing, and whether the revocation list is stale or of another CA.

  simulator --tenant admin --device 24f6 --acl-file access.acl --crlfile ca.crl

Exit status: 0 all is well, 1 something failed or was refused, 2 the command line
is wrong.

Options:
`

type usageError struct{ error }

type settings struct {
	host, id, topic, message  string
	port                      int
	qos                       uint8
	cert, key, cafile         string
	tenant, device, certs, ca string
	subscribe                 []string
	count                     int
	timeout                   time.Duration
	aclFile, version, crlfile string // the broker's
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	flags := pflag.NewFlagSet("simulator", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard) // main prints the error once
	flags.StringVarP(&s.host, "host", "h", "localhost", "the broker's host; its certificate must carry this name")
	flags.IntVarP(&s.port, "port", "p", 8883, "the port of its TLS listener")
	flags.StringVar(&s.tenant, "tenant", "", "the device's tenant")
	flags.StringVar(&s.device, "device", "", "the device's id")
	flags.StringVar(&s.certs, "certs", "certs", "the folder with the files that the retriever made")
	flags.StringVar(&s.ca, "ca", "IOTmidCA", "the CA's name, for <certs>/<ca>.crt")
	flags.StringVar(&s.cert, "cert", "", "the device's certificate (<certs>/<device>.crt)")
	flags.StringVar(&s.key, "key", "", "its key (<certs>/<device>.key)")
	flags.StringVar(&s.cafile, "cafile", "", "the CA's certificate (<certs>/<ca>.crt)")
	flags.StringVarP(&s.id, "id", "i", "", "the MQTT client id (<tenant>:<device>)")
	flags.StringVarP(&s.topic, "topic", "t", "", "where to publish (/<tenant>/<device>/attrs)")
	flags.StringVarP(&s.message, "message", "m", `{"temperature": 21.5}`, "what to publish")
	flags.Uint8VarP(&s.qos, "qos", "q", 1, "quality of service: 0, 1 or 2; with 0 nothing is confirmed")
	flags.StringArrayVarP(&s.subscribe, "subscribe", "s", nil, "print the messages of this topic filter, and publish only with -m or -t; may be repeated")
	flags.IntVarP(&s.count, "count", "C", 0, "end after so many messages; 0 is never")
	flags.DurationVarP(&s.timeout, "timeout", "W", 0, "end after this time, 30s say; 0 is never for --subscribe, 30s for the rest")
	flags.StringVar(&s.aclFile, "acl-file", "", "the broker's acl_file, to say why a message does not get through")
	flags.StringVar(&s.version, "broker-version", "2.0", "the version of the broker, by which --acl-file is read")
	flags.StringVar(&s.crlfile, "crlfile", "", "the broker's crlfile, to say why a certificate is refused")
	help := flags.Bool("help", false, "print this text")
	if err := flags.Parse(args); err != nil {
		return nil, &usageError{err}
	}
	if *help {
		fmt.Fprint(stderr, usage+flags.FlagUsages())
		return nil, pflag.ErrHelp
	}
	if flags.NArg() > 0 {
		return nil, &usageError{fmt.Errorf("unexpected argument %q (see --help)", flags.Arg(0))}
	}
	if s.qos > 2 {
		return nil, &usageError{fmt.Errorf("--qos %d: want 0, 1 or 2", s.qos)}
	}
	if s.port < 1 || s.port > 65535 {
		return nil, &usageError{fmt.Errorf("--port %d: want 1 to 65535", s.port)}
	}
	if s.device == "" && (s.cert == "" || s.key == "" || s.cafile == "") {
		return nil, &usageError{errors.New("want --device, or --cert, --key and --cafile (see --help)")}
	}
	if s.device != filepath.Base(s.device) && s.device != "" {
		return nil, &usageError{fmt.Errorf("--device %q: want a name, not a path", s.device)}
	}
	publishes := len(s.subscribe) == 0 || flags.Changed("message") || flags.Changed("topic")
	if publishes && s.topic == "" {
		if s.tenant == "" || s.device == "" {
			return nil, &usageError{errors.New("want --topic, or --tenant and --device, to know where to publish")}
		}
		s.topic = "/" + s.tenant + "/" + s.device + "/attrs"
	}
	if !publishes {
		s.topic = ""
	}
	if s.id == "" && s.tenant != "" && s.device != "" {
		s.id = s.tenant + ":" + s.device
	}
	return s, nil
}

// files are those named, and the retriever's for the rest.
func (s *settings) files() provision.Files {
	var f provision.Files
	if s.device != "" {
		f = provision.DeviceFiles(s.certs, s.device, s.ca)
	}
	for _, named := range []struct {
		path string
		file *string
	}{{s.cert, &f.Cert}, {s.key, &f.Key}, {s.cafile, &f.CA}} {
		if named.path != "" {
			*named.file = named.path
		}
	}
	return f
}

func (s *settings) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// limit is how long all of it may take; 0 is without end.
func (s *settings) limit() time.Duration {
	if s.timeout == 0 && len(s.subscribe) == 0 {
		return patience
	}
	return s.timeout
}

// patience is for what a broker that is well does in milliseconds.
const patience = 30 * time.Second
