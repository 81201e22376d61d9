package dojotevents

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
)

// Plan is what turns the devices that are present somewhere into those that
// dojot lists. Making one changes nothing: look at it, or have somebody look,
// before its events are applied.
//
//	plan, err := dojotevents.NewPlan(manager.Devices(ctx, "admin"), present)
//	if len(plan.Remove) > 0 {
//		err = errors.Join(err, plan.Confirm(manager.Devices(ctx, "admin")))
//	}
//	log.Print(plan)
//	… apply plan.Events() as if they had come from Kafka …
//
// Make a plan once the events that there were have been consumed: dojot doesn't
// tell of every removal, and an old event would undo the plan. Hold back those
// that come from then on until the plan has been applied, say with a lock that
// their handler takes, too: the plan would undo what is newer than its list.
type Plan struct {
	Create    []Event // listed, not present
	Remove    []Event // present, not listed, sorted: of kind Remove, without Data and Meta
	Unchanged int     // both
}

type device struct{ tenant, id string }

// NewPlan compares a list of devices, such as dojothttp's, with the tenants and
// ids that are present. Present devices must be of tenants that are listed, or
// they count as removed.
//
// The error is the list's first. What is incomplete isn't evidence that a device
// is gone, so that Remove is empty then; Create is of use nevertheless.
func NewPlan(listed iter.Seq2[Event, error], present iter.Seq2[string, string]) (*Plan, error) {
	has := make(map[device]bool) // whether it is listed, too
	for tenant, id := range present {
		has[device{tenant, id}] = false
	}
	var (
		plan  Plan
		fault error
		seen  = make(map[device]struct{})
	)
	for e, err := range listed {
		if err != nil {
			if fault == nil {
				fault = err
			}
			continue
		}
		d := device{e.Tenant, e.DeviceID}
		if _, twice := seen[d]; twice {
			continue // a list by pages may repeat what moves from one to the next
		}
		seen[d] = struct{}{}
		if _, ok := has[d]; ok {
			has[d] = true
			plan.Unchanged++
			continue
		}
		plan.Create = append(plan.Create, e)
	}
	if fault != nil {
		return &plan, fmt.Errorf("devices are not fully listed, none will be removed: %w", fault)
	}
	for d, ok := range has {
		if !ok {
			plan.Remove = append(plan.Remove, Event{Kind: Remove, Tenant: d.tenant, DeviceID: d.id})
		}
	}
	slices.SortFunc(plan.Remove, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.DeviceID, b.DeviceID))
	})
	return &plan, nil
}

// Confirm takes those devices out of Remove that another list has. A list that
// is made page by page can miss one: when a device on an earlier page goes, the
// others move up. After an error of the list, Remove is empty.
func (p *Plan) Confirm(listed iter.Seq2[Event, error]) error {
	seen := make(map[device]struct{})
	for e, err := range listed {
		if err != nil {
			p.Remove = nil
			return fmt.Errorf("devices are not fully listed, none will be removed: %w", err)
		}
		seen[device{e.Tenant, e.DeviceID}] = struct{}{}
	}
	var gone []Event
	for _, e := range p.Remove {
		if _, ok := seen[device{e.Tenant, e.DeviceID}]; !ok {
			gone = append(gone, e)
		}
	}
	p.Unchanged += len(p.Remove) - len(gone)
	p.Remove = gone
	return nil
}

// Events yields what is to be applied: first what is new, then what is gone.
func (p *Plan) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for _, events := range [][]Event{p.Create, p.Remove} {
			for _, e := range events {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// String says how much is to be done.
func (p *Plan) String() string {
	return fmt.Sprintf("devices: %d to create, %d to remove, %d unchanged", len(p.Create), len(p.Remove), p.Unchanged)
}
