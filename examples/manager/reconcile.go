package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojothttp"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
	"github.com/dojot/mqtt-manager-go/internal/httpurl"
	"github.com/dojot/mqtt-manager-go/internal/retry"
)

// dojotClient asks dojot's services; an answer has so long at most.
var dojotClient = &http.Client{Timeout: time.Minute}

func (m *manager) tenants(ctx context.Context) ([]string, error) {
	return (&dojothttp.Auth{URL: m.auth, HTTPClient: dojotClient}).Tenants(ctx)
}

// reconcile makes up for events that Kafka no longer has, or never had: again
// and again, it compares the devices in the ACL file with device-manager's
// list. Events are consumed meanwhile, so that none falls between.
func (m *manager) reconcile(ctx context.Context) error {
	if m.deviceManager == "" {
		return nil
	}
	always := func(error) bool { return true }
	for {
		err := retry.Do(ctx, m.log, "waiting for the list of devices at "+httpurl.Shown(m.deviceManager), always, m.reconcileOnce)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(m.reconcileEvery):
		}
	}
}

func (m *manager) reconcileOnce(ctx context.Context) error {
	list := func() iter.Seq2[dojotevents.Event, error] { return m.listed(ctx) }

	plan, listErr := dojotevents.NewPlan(list(), m.present)
	m.log.Info("devices compared with device-manager's list",
		"missing", len(plan.Create), "not listed", len(plan.Remove), "in both", plan.Unchanged)
	if err := m.applyAll(ctx, plan.Create, false); err != nil || listErr != nil {
		return errors.Join(err, listErr)
	}

	// A device may have been made or removed while the list was read, and its
	// event dealt with already: a second look decides, on those just added,
	// too.
	doubted := &dojotevents.Plan{Remove: append(removals(plan.Create), plan.Remove...)}
	if len(doubted.Remove) == 0 {
		return nil
	}
	if err := doubted.Confirm(list()); err != nil {
		return err
	}
	added := make(map[fleet.Device]bool)
	for _, e := range plan.Create {
		added[deviceOf(e)] = true
	}
	var gone []dojotevents.Event
	for _, e := range doubted.Remove {
		remove := m.removeGone || added[deviceOf(e)]
		m.log.Warn("device-manager does not list a device", "device", deviceOf(e), "remove", remove)
		if remove {
			gone = append(gone, e)
		}
	}
	return m.applyAll(ctx, gone, true)
}

// applyAll adds devices or removes them. Those that can never be are logged.
func (m *manager) applyAll(ctx context.Context, events []dojotevents.Event, remove bool) error {
	changes := make([]fleet.Change, len(events))
	for i, e := range events {
		changes[i] = fleet.Change{Device: deviceOf(e), Remove: remove}
	}
	refused, err := fleet.ChangeErrors(m.fleet.Apply(ctx, changes...))
	if err != nil {
		return err
	}
	for _, r := range refused {
		m.log.Warn("device not changed", "device", r.Device, "remove", remove, "cause", r.Err)
	}
	return nil
}

func (m *manager) present(yield func(tenant, id string) bool) {
	m.fleet.Devices(func(d fleet.Device, _ string) bool { return yield(d.Tenant, d.ID) })
}

func deviceOf(e dojotevents.Event) fleet.Device {
	return fleet.Device{Tenant: e.Tenant, ID: e.DeviceID}
}

func removals(created []dojotevents.Event) []dojotevents.Event {
	events := make([]dojotevents.Event, len(created))
	for i, e := range created {
		events[i] = dojotevents.Event{Kind: dojotevents.Remove, Tenant: e.Tenant, DeviceID: e.DeviceID}
	}
	return events
}

// listed yields the devices of all tenants there are by now. It lets go of
// their attributes: a list may be of a million devices.
func (m *manager) listed(ctx context.Context) iter.Seq2[dojotevents.Event, error] {
	return func(yield func(dojotevents.Event, error) bool) {
		tenants, err := m.tenants(ctx)
		if err == nil && len(tenants) == 0 {
			err = fmt.Errorf("%s lists no tenant, and dojot always has one", m.auth)
		}
		if err != nil {
			yield(dojotevents.Event{}, err)
			return
		}
		devices := &dojothttp.DeviceManager{URL: m.deviceManager, HTTPClient: dojotClient}
		for e, err := range devices.Devices(ctx, tenants...) {
			if !yield(dojotevents.Event{Kind: e.Kind, Tenant: e.Tenant, DeviceID: e.DeviceID}, err) {
				return
			}
		}
	}
}
