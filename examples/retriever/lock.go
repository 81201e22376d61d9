package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
)

// do does a job with the folder for itself: two at a time would bring together
// the key of one with the certificate of the other.
func (r *retriever) do(ctx context.Context, job *enrol.Run) (*enrol.Report, error) {
	if err := durable.MkdirAll(r.certs, 0o755); err != nil {
		return nil, err
	}
	lock, err := durable.LockDir(r.certs)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another retriever is at work in %s", r.certs)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := durable.RemoveTempsIn(r.certs, r.writes); err != nil {
		return nil, err
	}
	return job.Do(ctx), nil
}

// writes reports whether a file of that name is one that retrievers write by
// way of a temporary file with a random name.
func (s *settings) writes(name string) bool {
	return name == s.ca+".crt" || name == s.ca+".crl" ||
		strings.HasSuffix(name, ".p12") || strings.HasSuffix(name, ".crt.pending")
}
