package enrol_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("devices", "# the first floor\n\na1\n b[8-10] \n")
	marked := write("marked", "\ufeffa1\r\na2\r\n")
	long := write("long", "a1\n"+strings.Repeat("x", 100_000)+"\n")
	for _, tc := range []struct {
		text string
		want string // names, or part of an error
	}{
		{"24f6", "24f6"},
		{"24f6,a1b2", "24f6 a1b2"},
		{"dev[8-11]", "dev8 dev9 dev10 dev11"},
		{"dev[08-11].local,x", "dev08.local dev09.local dev10.local dev11.local x"},
		{"admin:[1-2]", "admin:1 admin:2"},
		{"z,@" + file, "z a1 b8 b9 b10"},
		{"@" + marked, "a1 a2"},
		{"", "error: device \"\""},
		{"a,,b", "error: device \"\""},
		{"a,a", "twice"},
		{"a1,@" + file, ":3: device \"a1\": it is there twice"},
		{"dev[1-2", "range"},
		{"dev[2-1]", "range"},
		{"dev[a-b]", "range"},
		{"dev[1-2][1-2]", "range"},
		{"dev[1-4000000000]", "range"},
		{"../x[1-2]", "device"},
		{"con", "Windows"},
		{"@" + filepath.Join(dir, "none"), "no such file"},
		{"@" + long, long + ":2: "},
	} {
		names, err := enrol.Devices(tc.text)
		got := strings.Join(names, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
			t.Errorf("%q: got %s, want %s", tc.text, got, tc.want)
		}
	}
}

func FuzzDevices(f *testing.F) {
	for _, s := range []string{"a,b", "dev[001-010]", "x[1-2]y", "a[", "]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "@") {
			t.Skip("files are not for fuzzing")
		}
		names, err := enrol.Devices(text)
		if err != nil {
			return
		}
		for _, n := range names {
			if provision.CheckName("device", n) != nil || strings.ContainsAny(n, ",") {
				t.Errorf("%q gives %q", text, n)
			}
		}
	})
}

// rig enrols devices at a CA that knows none of them.
type rig struct {
	server *ejbcatest.Server
	dir    string
	hook   func(context.Context) error
	shared enrol.Shared
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{server: ejbcatest.NewServer(), dir: t.TempDir()}
	t.Cleanup(r.server.Close)
	r.shared.CA = &ejbca.Issuer{Client: r.server.Client()}
	return r
}

func (r *rig) renewer(device string) *provision.Renewer {
	return &provision.Renewer{
		Identity: &provision.Identity{CommonName: device, Files: provision.DeviceFiles(r.dir, device, "IOTmidCA")},
		CA:       r.shared.For(&ejbca.Issuer{Client: r.server.Client(), User: device, Register: true}),
		Changed:  r.hook,
	}
}

func statuses(r *enrol.Report) string {
	var s []string
	for _, d := range r.Devices {
		s = append(s, d.Device+" "+string(d.Status))
	}
	return strings.Join(s, ", ")
}

func TestRun(t *testing.T) {
	r := newRig(t)
	devices := []string{"a", "b", "c", "d"}
	do := func() *enrol.Report {
		return (&enrol.Run{Devices: devices, Renewer: r.renewer}).Do(t.Context())
	}
	report := do()
	if got, want := statuses(report), "a made, b made, c made, d made"; got != want || report.Err() != nil {
		t.Fatalf("got %s (%v), want %s", got, report.Err(), want)
	}
	asked := map[string]int{}
	for _, q := range r.server.Requests() {
		asked[q.Method+" "+q.Path]++
	}
	if chains, lists := asked["GET /ca/IOTmidCA"], asked["GET /ca/IOTmidCA/crl"]; chains != 1 || lists != 1 {
		t.Errorf("the chain was asked for %d times and the list %d times, want once for all", chains, lists)
	}

	// An interrupted run is taken up: what is lost is made again, the rest stays.
	for _, name := range []string{"b.crt", "c.key"} {
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := statuses(do()), "a kept, b made, c made, d kept"; got != want {
		t.Errorf("taken up: got %s, want %s", got, want)
	}

	// One device's failure is its own.
	if err := os.WriteFile(filepath.Join(r.dir, "b.key"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	report = do()
	if got, want := statuses(report), "a kept, b failed, c kept, d kept"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if step, ok := errors.AsType[*provision.StepError](report.Err()); !ok || step.Step != provision.StepKey {
		t.Errorf("got %v, want a StepError of the key", report.Err())
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Count   map[string]int
		Devices []struct {
			Device, Status, Error string
			NotAfter              time.Time
		}
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"kept": 3, "failed": 1}, read.Count); diff != "" {
		t.Errorf("count (-want +got):\n%s", diff)
	}
	if !strings.Contains(read.Devices[1].Error, "b.key") || read.Devices[0].NotAfter.Before(time.Now()) {
		t.Errorf("the report is\n%s", text)
	}
}

// downCA is one that answers nothing.
type downCA struct{ asked int }

var errDown = errors.New("it is down")

func (c *downCA) Chain(context.Context) ([]*x509.Certificate, error) { c.asked++; return nil, errDown }
func (c *downCA) CRL(context.Context) (*x509.RevocationList, error)  { c.asked++; return nil, errDown }

// A CA that is down is not waited for by each device in turn.
func TestRunWithoutCA(t *testing.T) {
	r, down := newRig(t), &downCA{}
	r.shared.CA = down
	report := (&enrol.Run{Devices: []string{"a", "b", "c", "d"}, Renewer: r.renewer}).Do(t.Context())
	if report.Count[enrol.Failed] != 4 || !errors.Is(report.Err(), errDown) || down.asked != 1 {
		t.Errorf("got %s (%v), asked %d times, want all failed and asked once", statuses(report), report.Err(), down.asked)
	}
}

func TestRunEnds(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	run := &enrol.Run{Devices: []string{"a", "b", "c"}, Renewer: r.renewer, Parallel: 1}
	run.Done = func(enrol.Result) { cancel() }
	report := run.Do(ctx)
	if got, want := statuses(report), "a made, b skipped, c skipped"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A device that the CA may have signed for already is seen to, though the run
// is to end: dojot's CA signs once.
func TestRunEndsAfterDevicesUnderWay(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.server.Intercept(func(_ http.ResponseWriter, q *http.Request) bool {
		if strings.HasPrefix(q.URL.Path, "/sign/") {
			cancel()
		}
		return false
	})
	report := (&enrol.Run{Devices: []string{"a", "b", "c"}, Renewer: r.renewer, Parallel: 1}).Do(ctx)
	if got, want := statuses(report), "a made, b skipped, c skipped"; got != want {
		t.Errorf("got %s (%v), want %s", got, report.Err(), want)
	}
}

// silent is a CA that never answers.
type silent struct {
	*signer
	asked func()
}

func (s silent) Sign(ctx context.Context, _ *x509.CertificateRequest) ([]*x509.Certificate, error) {
	s.asked()
	<-ctx.Done()
	return nil, ctx.Err()
}

// Nor does a run that is to end wait for ever.
func TestRunEndsWithoutAnswer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ca := silent{newSigner(t), cancel}
		began := time.Now()
		report := (&enrol.Run{Devices: []string{"a", "b"}, Parallel: 1, Renewer: func(device string) *provision.Renewer {
			return localRenewer(dir, device, ca)
		}}).Do(ctx)
		if got, want := statuses(report), "a failed, b skipped"; got != want || time.Since(began) != 10*time.Second {
			t.Errorf("got %s after %v, want %s after 10 s", got, time.Since(began), want)
		}
	})
}

// deaf is a CA that does not even heed its context.
type deaf struct {
	*signer
	asked   func()
	release chan struct{}
}

func (d deaf) Sign(context.Context, *x509.CertificateRequest) ([]*x509.Certificate, error) {
	d.asked()
	<-d.release
	return nil, errors.New("too late")
}

// What cannot be ended, such as the making of a long key, is left behind.
func TestRunEndsWithoutWhatCannotBeEnded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ca := deaf{newSigner(t), cancel, make(chan struct{})}
		time.AfterFunc(time.Hour, func() { close(ca.release) })
		began := time.Now()
		report := (&enrol.Run{Devices: []string{"a", "b"}, Parallel: 1, Renewer: func(device string) *provision.Renewer {
			return localRenewer(dir, device, ca)
		}}).Do(ctx)
		if got, want := statuses(report), "a failed, b skipped"; got != want || time.Since(began) != 13*time.Second || !errors.Is(report.Devices[0].Err, context.Canceled) {
			t.Errorf("got %s (%v) after %v, want %s after 13 s", got, report.Err(), time.Since(began), want)
		}
		<-ca.release
	})
}

// What else a device needs is done for those that are good, and a failure is
// one device's.
func TestRunAlso(t *testing.T) {
	r := newRig(t)
	run := &enrol.Run{Devices: []string{"a", "b"}, Renewer: r.renewer, Parallel: 1}
	run.Also = func(device string) error {
		if device == "a" {
			return errors.New("disk full")
		}
		return nil
	}
	for _, want := range []string{"a failed, b made", "a failed, b kept"} {
		report := run.Do(t.Context())
		if got := statuses(report); got != want || report.Devices[0].Error != "disk full" {
			t.Errorf("got %s (%v), want %s", got, report.Err(), want)
		}
	}
}

func TestOversubscribe(t *testing.T) {
	places := runtime.GOMAXPROCS(0)
	for _, tc := range []struct {
		env  string
		want int
	}{
		{"", 2 * places},
		{"7", places}, // which the runtime has read at the start
	} {
		t.Setenv("GOMAXPROCS", tc.env)
		restore := enrol.Oversubscribe()
		if got := runtime.GOMAXPROCS(0); got != tc.want {
			t.Errorf("GOMAXPROCS=%q: got %d, want %d", tc.env, got, tc.want)
		}
		restore()
		if got := runtime.GOMAXPROCS(0); got != places {
			t.Errorf("GOMAXPROCS=%q: %d in the end, want %d", tc.env, got, places)
		}
	}
}

func TestHarmless(t *testing.T) {
	list := &provision.StepError{Step: provision.StepCRL, Err: errors.New("none")}
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{list, true},
		{errors.Join(&provision.HookError{Err: errors.New("no")}, list), false},
		{&provision.StepError{Step: provision.StepCert, Err: errors.New("none")}, false},
	} {
		if got := enrol.Harmless(tc.err); got != tc.want {
			t.Errorf("%v: got %v", tc.err, got)
		}
	}
}

func TestBar(t *testing.T) {
	var shown bytes.Buffer
	now := time.Now()
	bar := &enrol.Bar{W: &shown, Total: 4, Now: func() time.Time { now = now.Add(time.Second); return now }}
	for _, s := range []enrol.Status{enrol.Made, enrol.Failed, enrol.Kept, enrol.Made} {
		bar.Done(enrol.Result{Status: s})
	}
	lines := slices.DeleteFunc(strings.Split(shown.String(), "\r"), func(s string) bool { return s == "" })
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "[###############...............] 2/4, 1 failed, 1s left") || !strings.HasSuffix(lines[3], "\n") {
		t.Errorf("got %q", lines)
	}
}
