package main

import (
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A reader that goes away, such as head(1), does not end a run.
func TestNobodyReadsTheOutput(t *testing.T) {
	r := newRig(t)
	cmd := r.command(t, "a,b")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	cmd.Stdout = writer
	err = cmd.Run()
	writer.Close()
	if err != nil || !r.has("a.crt") || !r.has("b.crt") {
		t.Errorf("%v, a.crt is there: %v, b.crt: %v", err, r.has("a.crt"), r.has("b.crt"))
	}
}

// A device under way is seen to: the CA may have signed, and does so once.
func TestSignalWaitsForTheDeviceUnderWay(t *testing.T) {
	r := newRig(t)
	asked, signalled := make(chan struct{}), make(chan struct{})
	r.onSign(func(*http.Request) { close(asked); <-signalled })
	cmd := r.command(t, "24f6")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(patience):
		t.Error("nobody asks for a signature")
	}
	cmd.Process.Signal(syscall.SIGTERM)
	close(signalled)
	if err := cmd.Wait(); err != nil || !r.has("24f6.crt") {
		t.Errorf("%v, 24f6.crt is there: %v", err, r.has("24f6.crt"))
	}
}

// A second signal ends it at once.
func TestSecondSignal(t *testing.T) {
	r := newRig(t)
	asked := make(chan struct{})
	var once sync.Once
	r.onSign(func(q *http.Request) {
		once.Do(func() { close(asked) })
		<-q.Context().Done()
	})
	cmd := r.command(t, "24f6")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("nobody asks for a signature")
	}
	// Signals that come before the first is seen to are one with it.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for running := true; running; {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			running = false
		case <-again.C:
		}
	}
	if by := cmd.ProcessState.Sys().(syscall.WaitStatus); !by.Signaled() || by.Signal() != syscall.SIGTERM {
		t.Errorf("it ended by itself: %v", cmd.ProcessState)
	}
}
