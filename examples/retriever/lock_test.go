package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

func TestOneRetrieverAtATime(t *testing.T) {
	r := newRig(t)
	if err := os.Mkdir(r.certs, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := durable.LockDir(r.certs)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := r.run(t.Context(), "24f6"); err == nil || status(err) != exitFailed || err.Error() != "another retriever is at work in "+r.certs {
		t.Errorf("got %v\n%s", err, out)
	}
	if out, err := r.run(t.Context(), "24f6", "--plan"); err != nil {
		t.Errorf("--plan: %v\n%s", err, out)
	}

	// A daemon skips the round, and says so.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := &watched{until: "round skipped", then: cancel}
	if err := run(ctx, r.args("24f6", "--daemon"), nil, out, out); err != nil || !strings.Contains(out.String(), "another retriever is at work") {
		t.Errorf("--daemon: %v\n%s", err, out)
	}
	if r.has("24f6.key") {
		t.Error("there is a key")
	}

	lock.Close()
	if out, err := r.run(t.Context(), "24f6"); err != nil {
		t.Errorf("later: %v\n%s", err, out)
	}
}

// A daemon has the folder for itself only while it works.
func TestDaemonLeavesTheFolder(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	made := make(chan struct{})
	out := &watched{until: "certificate made", then: func() { close(made) }}
	go func() { ended <- run(ctx, r.args("24f6", "--daemon"), nil, out, out) }()
	select {
	case <-made:
	case <-time.After(patience):
		t.Fatalf("no certificate\n%s", out)
	}
	for began := time.Now(); ; {
		said, err := r.run(t.Context(), "a1b2")
		if err == nil {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What a run that was killed left is cleared away; what is others' stays.
func TestSweep(t *testing.T) {
	r := newRig(t)
	gone := []string{"24f6.p12.durable-1", "other.p12.durable-1", "24f6.crt.pending.durable-1", "IOTmidCA.crt.durable-1", "IOTmidCA.crl.durable-1"}
	stay := []string{"access.acl.durable-1", "other.crl.durable-1", "24f6.p12.bak"}
	for _, name := range append(gone, stay...) {
		r.put(t, name, "")
	}
	if out, err := r.run(t.Context(), "24f6"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range gone {
		if r.has(name) {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range stay {
		if !r.has(name) {
			t.Errorf("%s is gone", name)
		}
	}
}
