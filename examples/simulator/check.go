package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/provision"
)

// explain adds cause and remedy to a refusal. It has the connection tried
// again by provision.Check, which knows what the error cannot say: the
// client's files, and the broker's where they can be read.
func explain(ctx context.Context, s *settings, rules *rules, refusal error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	target := provision.Target{
		Addr: s.addr(), Files: s.files(), ClientID: s.id,
		Topic: s.topic, Payload: []byte(s.message),
		CRLFile: s.crlfile,
	}
	if rules != nil {
		target.Allows = rules.allow
	}
	problem, ok := errors.AsType[*provision.Problem](provision.Check(ctx, target))
	if !ok || ctx.Err() != nil {
		return refusal
	}
	return fmt.Errorf("refused: %s\n  remedy: %s\n  (%w)", problem.Cause, problem.Remedy, problem.Err)
}

// rules are the broker's, from its acl_file. A nil *rules knows nothing.
type rules struct {
	path   string
	policy *acl.Policy
}

func readRules(s *settings) (*rules, error) {
	if s.crlfile != "" {
		if _, err := os.Stat(s.crlfile); err != nil {
			return nil, fmt.Errorf("--crlfile: %w", err)
		}
	}
	if s.aclFile == "" {
		return nil, nil
	}
	version, err := acl.ParseVersion(s.version)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--broker-version: %w", err)}
	}
	data, err := os.ReadFile(s.aclFile)
	if err != nil {
		return nil, fmt.Errorf("--acl-file: %w", err)
	}
	file, err := version.Parse(s.aclFile, data)
	if err != nil {
		return nil, fmt.Errorf("--acl-file: the broker does not load it: %w", err)
	}
	return &rules{s.aclFile, file.Compile(version)}, nil
}

// allow is provision.Target's Allows.
func (r *rules) allow(user, clientID, topic string) (allowed bool, why string) {
	return r.decide(acl.Client{Username: user, ID: clientID}, acl.Write, topic)
}

func (r *rules) decide(client acl.Client, want acl.Access, topic string) (allowed bool, why string) {
	d := r.policy.Explain(client, want, topic)
	if d.Line == 0 {
		return d.Allowed, fmt.Sprintf("%s: %s", r.path, d.Reason)
	}
	return d.Allowed, fmt.Sprintf("%s:%d: %s", r.path, d.Line, d.Reason)
}

// warnOf says which subscriptions will stay silent: the broker grants all of
// them, and logs nothing when it does not deliver. Of those with wildcards it
// depends on the topic.
func (r *rules) warnOf(s *settings, stderr io.Writer) {
	if r == nil {
		return
	}
	leaf, err := s.files().Leaf()
	if err != nil {
		return // just read for the connection
	}
	client := acl.Client{Username: leaf.Subject.CommonName, ID: s.id}
	for _, filter := range s.subscribe {
		if strings.ContainsAny(filter, "+#") {
			continue
		}
		if allowed, why := r.decide(client, acl.Read, filter); !allowed {
			fmt.Fprintf(stderr, "nothing will come on %q: the broker's access rules do not let this device read it (%s)\n", filter, why)
		}
	}
}
