// Package enrol gets many devices their keys and certificates in one run: in
// parallel, resumable, with a report that says what became of each.
//
// Resuming takes no state of its own: what is good on disk stays, and a device
// whose files are half there is taken up where it stopped.
package enrol

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dojot/mqtt-manager-go/provision"
)

// A Run is what to do. Devices and Renewer are required.
type Run struct {
	Devices []string
	// Renewer returns what keeps a device's identity. It may be called from
	// several goroutines at a time.
	Renewer func(device string) *provision.Renewer
	// Parallel is how many devices are worked on at once. 0 is four for each
	// of GOMAXPROCS: while some wait for the CA or the disk, others make keys.
	Parallel int
	// Also, if not nil, does what else there is to do for a device whose files
	// are good, whether or not they are new. It may be called from several
	// goroutines at a time. If it fails, so has the device.
	Also func(device string) error
	// Done, if not nil, is told of each device, one at a time, as soon as it is
	// known what became of it.
	Done func(Result)
}

// Status is what became of a device.
type Status string

const (
	Made    Status = "made"    // it has its first certificate, or all anew
	Renewed Status = "renewed" // it has another certificate in place of one that was not good
	Kept    Status = "kept"    // all was good
	Failed  Status = "failed"
	Skipped Status = "skipped" // the run was ended before
)

// A Result is what became of a device, for a report.
type Result struct {
	Device   string     `json:"device"`
	Status   Status     `json:"status"`
	Reason   string     `json:"reason,omitempty"`   // why it was renewed
	NotAfter *time.Time `json:"notAfter,omitempty"` // the end of the certificate there is
	Files    []string   `json:"files,omitempty"`    // those that were made
	Error    string     `json:"error,omitempty"`
	Warning  string     `json:"warning,omitempty"` // what failed without harm to key and certificate, or was kept for want of better

	Err   error            `json:"-"`
	Steps []provision.Step `json:"-"`

	nextLook time.Time // at the certificate there is; zero: there is none
}

// A Report is what became of all, in the order of Run.Devices.
type Report struct {
	Began   time.Time      `json:"began"`
	Ended   time.Time      `json:"ended"`
	Count   map[Status]int `json:"count"`
	Devices []Result       `json:"devices"`
}

// Err joins what failed; nil if nothing did.
func (r *Report) Err() error {
	var errs []error
	for _, d := range r.Devices {
		if d.Err != nil {
			errs = append(errs, d.Err)
		}
	}
	return errors.Join(errs...)
}

// grace is how long the devices under way are still seen to when a run is to
// end. The CA may have signed already, and dojot's does so once for a device.
const grace = 10 * time.Second

// heeding is how long they may then take to end.
const heeding = 3 * time.Second

// errLeft is of a device that did not end.
var errLeft = fmt.Errorf("left behind while a key was made, which can take minutes, or the disk did not answer: %w", context.Canceled)

// Do sees to all devices, or, when ctx ends, to those under way, which have 10
// seconds more. A failure is one device's; the others go on. What cannot be
// ended then, such as the making of a long key, is left behind a little later:
// Do is for programs that end with their ctx.
func (r *Run) Do(ctx context.Context) *Report {
	report := &Report{Began: time.Now(), Count: map[Status]int{}, Devices: make([]Result, len(r.Devices))}
	parallel := r.Parallel
	if parallel <= 0 {
		parallel = 4 * runtime.GOMAXPROCS(0)
	}
	underWay, stop := outlast(ctx, grace)
	defer stop()
	ended, stop := outlast(ctx, grace+heeding)
	defer stop()
	var mu sync.Mutex
	var work errgroup.Group
	work.SetLimit(parallel)
	for i, device := range r.Devices {
		work.Go(func() error {
			result := Result{Device: device, Status: Skipped, Err: ctx.Err()}
			if result.Err == nil {
				seen := make(chan Result, 1)
				go func() { seen <- r.one(underWay, device) }()
				select {
				case result = <-seen:
				case <-ended.Done():
					select {
					case result = <-seen: // just in time
					default:
						result.Status, result.Err = Failed, errLeft
					}
				}
			}
			if result.Err != nil {
				result.Error = result.Err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			report.Devices[i] = result
			report.Count[result.Status]++
			if r.Done != nil {
				r.Done(result)
			}
			return nil
		})
	}
	work.Wait()
	report.Ended = time.Now()
	return report
}

func (r *Run) one(ctx context.Context, device string) Result {
	renewer := r.Renewer(device)
	steps, err := renewer.Once(ctx)
	result := Result{Device: device, Status: Kept, Steps: steps}
	var warnings []string
	for _, s := range steps {
		if s.Action != provision.Made {
			if s.Reason != "" {
				warnings = append(warnings, fmt.Sprintf("%s is kept: %s", s.Path, s.Reason))
			}
			continue
		}
		result.Files = append(result.Files, s.Path)
		if s.Path != renewer.Identity.Files.Cert {
			continue
		}
		if result.Status = Made; s.Reason != "" {
			result.Status, result.Reason = Renewed, s.Reason
		}
	}
	if leaf, leafErr := renewer.Identity.Files.Leaf(); leafErr == nil {
		result.NotAfter = &leaf.NotAfter
		result.nextLook = renewer.NextLook(leaf)
	}
	if Harmless(err) {
		warnings = append(warnings, err.Error())
		err = nil
	}
	if err == nil && r.Also != nil {
		err = r.Also(device)
	}
	if err != nil {
		result.Status, result.Err = Failed, err
	}
	result.Warning = strings.Join(warnings, "; ")
	return result
}

// outlast returns a context that ends that much later than ctx.
func outlast(ctx context.Context, more time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(more, cancel) })
	return longer, func() { stop(); cancel() }
}

// Harmless reports whether err is about the revocation list alone: a client
// needs none to use its certificate.
func Harmless(err error) bool {
	step, ok := errors.AsType[*provision.StepError](err)
	_, hook := errors.AsType[*provision.HookError](err)
	return ok && step.Step == provision.StepCRL && !hook
}

// Shared is a CA that the devices of one run ask: for its chain and its list
// once, whatever comes of it. A CA that is down is not tried again for each of
// a thousand devices.
type Shared struct {
	CA interface {
		Chain(ctx context.Context) ([]*x509.Certificate, error)
		provision.CRLSource
	}

	chain once[[]*x509.Certificate]
	list  once[*x509.RevocationList]
}

// Chain is provision.CA's.
func (s *Shared) Chain(ctx context.Context) ([]*x509.Certificate, error) {
	return s.chain.do(func() ([]*x509.Certificate, error) { return s.CA.Chain(ctx) })
}

// CRL is provision.CRLSource's.
func (s *Shared) CRL(ctx context.Context) (*x509.RevocationList, error) {
	return s.list.do(func() (*x509.RevocationList, error) { return s.CA.CRL(ctx) })
}

// An Enroller has a certificate made for one device, which need not be checked
// to be of the CA: whoever asks for it does that. *ejbca.Issuer is one.
type Enroller interface {
	Enrol(ctx context.Context, csr *x509.CertificateRequest) (*x509.Certificate, error)
}

// For returns the CA as one device sees it.
func (s *Shared) For(device Enroller) provision.CA { return sharedFor{s, device} }

type sharedFor struct {
	*Shared
	device Enroller
}

// Sign is provision.CA's.
func (c sharedFor) Sign(ctx context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	chain, err := c.Chain(ctx)
	if err != nil {
		return nil, err
	}
	leaf, err := c.device.Enrol(ctx, csr)
	if err != nil {
		return nil, err
	}
	return append([]*x509.Certificate{leaf}, chain[:len(chain)-1]...), nil // without the root
}

// once remembers what the first call of a function returned.
type once[T any] struct {
	sync.Once
	value T
	err   error
}

func (o *once[T]) do(f func() (T, error)) (T, error) {
	o.Do(func() { o.value, o.err = f() })
	return o.value, o.err
}
