package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
)

const seed = "user iotagent\ntopic read /#\n"

// journal is a Registrar that remembers.
type journal struct {
	mu    sync.Mutex
	lines []string
	fail  error
}

func (j *journal) note(line string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return j.fail
}

func (j *journal) Register(_ context.Context, users ...string) error {
	return j.note("register " + strings.Join(users, " "))
}
func (j *journal) Withdraw(_ context.Context, users ...string) error {
	return j.note("withdraw " + strings.Join(users, " "))
}

type fixture struct {
	*fleet.Fleet
	path    string
	reloads atomic.Int64
	journal journal
}

func newFleet(t *testing.T, n *fleet.Naming) *fixture {
	t.Helper()
	f := &fixture{path: filepath.Join(t.TempDir(), "access.acl")}
	store, err := acl.OpenStore(f.path, acl.StoreOptions{Seed: []byte(seed), Written: func(context.Context) error {
		f.reloads.Add(1)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	owed, err := fleet.OpenOwed(filepath.Join(filepath.Dir(f.path), "owed"))
	if err != nil {
		t.Fatal(err)
	}
	f.Fleet = &fleet.Fleet{Naming: n, Store: store, Reserved: []string{"mosquitto", "iotagent"}, Registrar: &f.journal, Owed: owed}
	return f
}

func (f *fixture) text(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func put(tenant, id string) fleet.Change {
	return fleet.Change{Device: fleet.Device{Tenant: tenant, ID: id}}
}

func remove(tenant, id string) fleet.Change {
	c := put(tenant, id)
	c.Remove = true
	return c
}

func TestApply(t *testing.T) {
	f := newFleet(t, classic(t))
	if err := f.Apply(t.Context(), put("admin", "24f6"), put("admin", "24f"), put("other", "a1")); err != nil {
		t.Fatal(err)
	}
	want := seed + "user 24f6\ntopic write /admin/24f6/attrs\nuser 24f\ntopic write /admin/24f/attrs\nuser a1\ntopic write /other/a1/attrs\n"
	if got := f.text(t); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := f.reloads.Load(); got != 1 {
		t.Errorf("%d reloads for three changes, want 1", got)
	}
	// Repeats change nothing, and an id that is part of another is another.
	if err := f.Apply(t.Context(), put("admin", "24f6"), remove("admin", "24f"), remove("admin", "24f")); err != nil {
		t.Fatal(err)
	}
	if got := f.text(t); strings.Contains(got, "user 24f\n") || !strings.Contains(got, "user 24f6\n") {
		t.Errorf("got\n%s", got)
	}
	var devices []string
	for d, user := range f.Devices {
		devices = append(devices, fmt.Sprint(d, " ", user))
	}
	if diff := cmp.Diff([]string{"admin/24f6 24f6", "other/a1 a1"}, devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	wantLines := []string{"register 24f 24f6 a1", "register 24f6", "withdraw 24f"}
	if diff := cmp.Diff(wantLines, f.journal.lines); diff != "" {
		t.Errorf("CA (-want +got):\n%s", diff)
	}
}

func TestRefusedChangesLeaveTheOthersAlone(t *testing.T) {
	f := newFleet(t, classic(t))
	if err := f.Apply(t.Context(), put("admin", "24f6")); err != nil {
		t.Fatal(err)
	}
	before := f.text(t)
	refusals := []struct {
		change fleet.Change
		taken  bool
		words  []string
	}{
		{put("other", "24f6"), true, []string{"admin/24f6", "other/24f6"}},
		{remove("other", "24f6"), true, []string{"admin/24f6", "other/24f6"}},
		{put("admin", "iotagent"), true, []string{"iotagent"}},
		{remove("admin", "iotagent"), true, []string{"iotagent"}},
		{put("admin", "mosquitto"), true, []string{"mosquitto"}},
		{put("admin", "x\ntopic readwrite #"), false, []string{"device id"}},
		{put("a/b", "x"), false, []string{"tenant"}},
	}
	var changes []fleet.Change
	for _, r := range refusals {
		changes = append(changes, r.change)
	}
	changes = append(changes, put("admin", "good"))
	refused, other := fleet.ChangeErrors(f.Apply(t.Context(), changes...))
	if other != nil || len(refused) != len(refusals) {
		t.Fatalf("got %d refused, %v, want %d", len(refused), other, len(refusals))
	}
	for _, e := range refused {
		want := refusals[e.Index]
		if got := errors.Is(e, fleet.ErrTaken); got != want.taken {
			t.Errorf("%v: ErrTaken is %v, want %v", e, got, want.taken)
		}
		for _, word := range want.words {
			if !strings.Contains(e.Error(), word) {
				t.Errorf("%q does not name %q", e, word)
			}
		}
	}
	if got, want := f.text(t), before+"user good\ntopic write /admin/good/attrs\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if diff := cmp.Diff([]string{"register 24f6", "register good"}, f.journal.lines); diff != "" {
		t.Errorf("CA (-want +got):\n%s", diff)
	}
}

// Of two tenants' devices of one id in the same batch, the first has it.
func TestCollisionWithinABatch(t *testing.T) {
	f := newFleet(t, classic(t))
	refused, other := fleet.ChangeErrors(f.Apply(t.Context(), put("a", "1"), put("b", "1"), remove("a", "1"), put("b", "1")))
	if other != nil || len(refused) != 1 || refused[0].Index != 1 {
		t.Fatalf("got %v, %v, want the second change refused", refused, other)
	}
	if got := f.text(t); got != seed+"user 1\ntopic write /b/1/attrs\n" {
		t.Errorf("got\n%s", got)
	}
	if diff := cmp.Diff([]string{"register 1", "withdraw 1", "register 1"}, f.journal.lines); diff != "" {
		t.Errorf("the first device's certificate must not serve the second (-want +got):\n%s", diff)
	}
}

// With the tenant in the name there is nothing to collide.
func TestSameIDInTwoTenants(t *testing.T) {
	f := newFleet(t, tenantID(t))
	if err := f.Apply(t.Context(), put("a", "1"), put("b", "1"), remove("a", "1")); err != nil {
		t.Fatal(err)
	}
	if got := f.text(t); got != seed+"user b:1\ntopic write b:1/attrs\ntopic read b:1/config\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestFailureIsForTheWholeCall(t *testing.T) {
	f := newFleet(t, classic(t))
	f.journal.fail = errors.New("the CA is down")
	refused, other := fleet.ChangeErrors(f.Apply(t.Context(), put("admin", "1"), put("", "2")))
	if !errors.Is(other, f.journal.fail) || len(refused) != 0 {
		t.Errorf("got %v, %v, want the CA's failure alone", refused, other)
	}
	f.journal.fail = nil
	refused, other = fleet.ChangeErrors(f.Apply(t.Context(), put("admin", "1"), put("", "2")))
	if other != nil || len(refused) != 1 {
		t.Errorf("repeated: got %v, %v", refused, other)
	}
}

// A batch in which devices come and go costs two calls, not one for each, and
// one whose own changes alternate as many as those.
func TestFewCalls(t *testing.T) {
	f := newFleet(t, classic(t))
	var batch []fleet.Change
	for i := range 50 {
		batch = append(batch, put("admin", fmt.Sprint("a", i)), remove("admin", fmt.Sprint("a", i)))
	}
	batch = append(batch, put("admin", "a0"))
	if err := f.Apply(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	var verbs []string
	for _, line := range f.journal.lines {
		verb, _, _ := strings.Cut(line, " ")
		verbs = append(verbs, verb)
	}
	if diff := cmp.Diff([]string{"register", "withdraw", "register"}, verbs); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// The CA has end entities that are no devices; removing a device of that name
// must not end them.
func TestOnlyDevicesAreWithdrawn(t *testing.T) {
	f := newFleet(t, classic(t))
	if err := f.Apply(t.Context(), put("admin", "1")); err != nil {
		t.Fatal(err)
	}
	f.journal.lines = nil
	err := f.Apply(t.Context(), remove("admin", "bridge"), put("other", "1"), remove("other", "1"), remove("admin", "bridge"))
	if refused, other := fleet.ChangeErrors(err); other != nil || len(refused) != 2 {
		t.Errorf("got %v, want two refusals", err)
	}
	if len(f.journal.lines) > 0 {
		t.Errorf("the CA was told: %q", f.journal.lines)
	}
	// Nor later.
	if err := f.Apply(t.Context(), put("admin", "1"), put("admin", "2"), remove("admin", "2")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"register 1 2", "withdraw 2"}, f.journal.lines); diff != "" {
		t.Errorf("CA (-want +got):\n%s", diff)
	}
}

// What the CA has yet to be told outlives the process.
func TestWithdrawalIsOwed(t *testing.T) {
	f := newFleet(t, classic(t))
	reopen := func() {
		t.Helper()
		var err error
		if f.Owed, err = fleet.OpenOwed(filepath.Join(filepath.Dir(f.path), "owed")); err != nil {
			t.Fatal(err)
		}
	}
	step := func(fail error, want []string, changes ...fleet.Change) {
		t.Helper()
		f.journal.lines, f.journal.fail = nil, fail
		if err := f.Apply(t.Context(), changes...); !errors.Is(err, fail) {
			t.Errorf("got %v, want %v", err, fail)
		}
		if diff := cmp.Diff(want, f.journal.lines); diff != "" {
			t.Errorf("CA (-want +got):\n%s", diff)
		}
		reopen()
	}
	down := errors.New("the CA is down")
	step(nil, []string{"register 1"}, put("admin", "1"))
	step(down, []string{"withdraw 1"}, remove("admin", "1"))
	step(down, []string{"withdraw 1"}, remove("admin", "1"))
	step(nil, []string{"withdraw 1"}, remove("admin", "1"))
	step(nil, nil, remove("admin", "1"))

	// One that comes back is not the old one.
	step(nil, []string{"register 1"}, put("admin", "1"))
	step(down, []string{"withdraw 1"}, remove("admin", "1"))
	step(down, []string{"withdraw 1"}, put("other", "1"))
	step(nil, []string{"withdraw 1", "register 1"}, put("other", "1"))
	step(nil, []string{"register 1"}, put("other", "1"))
	step(nil, []string{"withdraw 1", "register 1", "withdraw 1"}, remove("other", "1"), put("admin", "1"), remove("admin", "1"))
	step(nil, nil, remove("admin", "1"))
}

// A removal that did not take place is not made up for at the CA alone.
func TestNothingIsOwedForWhoIsThere(t *testing.T) {
	f := newFleet(t, classic(t))
	if err := f.Apply(t.Context(), put("admin", "1")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(f.path), "owed"), []byte(`{"1":{"tenant":"admin","id":"1"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.Owed, err = fleet.OpenOwed(filepath.Join(filepath.Dir(f.path), "owed")); err != nil {
		t.Fatal(err)
	}
	if err := f.Apply(t.Context(), put("admin", "1")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"register 1", "register 1"}, f.journal.lines); diff != "" {
		t.Errorf("CA (-want +got):\n%s", diff)
	}
}

// Calls at the same time leave the ACL file and the CA of one mind.
func TestConcurrentChangesOfOneDevice(t *testing.T) {
	f := newFleet(t, classic(t))
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() {
			change := put("admin", "1")
			change.Remove = i%2 == 1
			if err := f.Apply(t.Context(), change, put("admin", fmt.Sprint(2+i%3))); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	known := false
	for _, line := range f.journal.lines {
		verb, users, _ := strings.Cut(line, " ")
		if slices.Contains(strings.Fields(users), "1") {
			known = verb == "register"
		}
	}
	if there := strings.Contains(f.text(t), "user 1\n"); there != known {
		t.Errorf("in the ACL file: %v, at the CA: %v", there, known)
	}
}
