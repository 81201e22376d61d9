package dojotevents_test

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// listing yields a create event for each id, an error for "!".
func listing(ids ...string) iter.Seq2[dojotevents.Event, error] {
	return func(yield func(dojotevents.Event, error) bool) {
		for _, id := range ids {
			e, err := dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: id}, error(nil)
			if id == "!" {
				e, err = dojotevents.Event{}, errListing
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

var errListing = errors.New("connection lost")

func presentIn(tenant string, ids ...string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, id := range ids {
			if !yield(tenant, id) {
				return
			}
		}
	}
}

func shown(p *dojotevents.Plan) []string {
	var out []string
	for e := range p.Events() {
		out = append(out, e.String())
	}
	return out
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name    string
		listed  []string
		tenant  string
		present []string
		want    []string
		summary string
		fails   bool
	}{
		{"the same", []string{"a", "b"}, "admin", []string{"b", "a"}, nil, "devices: 0 to create, 0 to remove, 2 unchanged", false},
		{"nothing at all", nil, "admin", nil, nil, "devices: 0 to create, 0 to remove, 0 unchanged", false},
		{"from scratch", []string{"a", "b"}, "admin", nil, []string{"create admin:a", "create admin:b"}, "devices: 2 to create, 0 to remove, 0 unchanged", false},
		{"all gone", nil, "admin", []string{"a"}, []string{"remove admin:a"}, "devices: 0 to create, 1 to remove, 0 unchanged", false},
		{"some of each", []string{"a", "b", "b"}, "admin", []string{"b", "c"}, []string{"create admin:a", "remove admin:c"}, "devices: 1 to create, 1 to remove, 1 unchanged", false},
		{"removals are sorted", nil, "admin", []string{"c", "a", "d", "b"}, []string{"remove admin:a", "remove admin:b", "remove admin:c", "remove admin:d"}, "devices: 0 to create, 4 to remove, 0 unchanged", false},
		{"same id, other tenant", []string{"a"}, "other", []string{"a"}, []string{"create admin:a", "remove other:a"}, "devices: 1 to create, 1 to remove, 0 unchanged", false},
		{"list breaks off", []string{"a", "!"}, "admin", []string{"c"}, []string{"create admin:a"}, "devices: 1 to create, 0 to remove, 0 unchanged", true},
		{"one device unreadable", []string{"a", "!", "b"}, "admin", []string{"c"}, []string{"create admin:a", "create admin:b"}, "devices: 2 to create, 0 to remove, 0 unchanged", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := dojotevents.NewPlan(listing(tt.listed...), presentIn(tt.tenant, tt.present...))
			if (err != nil) != tt.fails || tt.fails && !errors.Is(err, errListing) {
				t.Errorf("error = %v, want one: %v", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, shown(plan)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if plan.String() != tt.summary {
				t.Errorf("summary = %s, want %s", plan, tt.summary)
			}
			for _, e := range plan.Remove {
				if _, err := dojotevents.Encode(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestPlanConfirm(t *testing.T) {
	plan, err := dojotevents.NewPlan(listing("a"), presentIn("admin", "a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Confirm(listing("a", "b")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"remove admin:c"}, shown(plan)); diff != "" || plan.Unchanged != 2 {
		t.Errorf("confirmed plan: %v (-want +got):\n%s", plan, diff)
	}
	if err := plan.Confirm(listing("a", "!")); !errors.Is(err, errListing) || len(plan.Remove) != 0 {
		t.Errorf("Confirm with a list that breaks off = %v, removes %v, want an error and nothing removed", err, plan.Remove)
	}
}

func ExampleNewPlan() {
	plan, err := dojotevents.NewPlan(listing("e06357", "efac"), presentIn("admin", "efac", "8fa3"))
	fmt.Println(plan, err)
	for e := range plan.Events() {
		fmt.Println(e)
	}
	// Output:
	// devices: 1 to create, 1 to remove, 1 unchanged <nil>
	// create admin:e06357
	// remove admin:8fa3
}
