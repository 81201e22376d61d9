package crl

import (
	"crypto/x509"
	"fmt"
)

// Severity says how much a [Finding] matters.
type Severity int

const (
	Advice    Severity = iota // good practice, or a rule for CAs of the public web
	Violation                 // RFC 5280 forbids it
)

// String returns "advice" or "violation".
func (s Severity) String() string {
	switch s {
	case Advice:
		return "advice"
	case Violation:
		return "violation"
	}
	return fmt.Sprintf("Severity(%d)", int(s))
}

// Finding is a rule that a list breaks.
type Finding struct {
	Rule     string // its name, such as "number-too-long"
	Source   string // where it is written, such as "RFC 5280, section 5.2.3"
	Severity Severity
	Message  string // what is wrong, with the first entry's serial if it is about entries
}

// String returns the finding in a line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s (%s, %s)", f.Severity, f.Message, f.Rule, f.Source)
}

// Lint says which rules for CAs the list breaks: those of RFC 5280, section
// 5, and what the CAs of the public web have agreed on beyond them. It looks
// at the list's Raw field alone, at neither signature nor issuer nor the time:
// [Verify] does that. A broker may well accept what Lint objects to. There is
// at most one finding a rule, in the order of the list's parts.
//
// The error is [ErrMalformed], where [Parse] would not have read the list;
// much that RFC 5280 forbids is found there.
func Lint(list *x509.RevocationList) ([]Finding, error) {
	ix, err := indexOf(list)
	if err != nil {
		return nil, err
	}
	return ix.lint(), nil
}

// rule is one sentence of a standard. T is what it is about.
type rule[T any] struct {
	name     string
	source   string
	severity Severity
	check    func(T) (fault string) // "" if there is none
}

const (
	rfc5280 = "RFC 5280, section "
	webBR   = "CA/Browser Forum, Baseline Requirements, section "
)

// lint applies the rules.
func (ix *Index) lint() []Finding {
	var findings []Finding
	for _, r := range listRules {
		if fault := r.check(listFacts{ix.d, ix}); fault != "" {
			findings = append(findings, Finding{r.name, r.source, r.severity, fault})
		}
	}
	var plain, extended tally
	e := entryFacts{list: ix.d, delta: ix.d.isDelta()}
	for s := ix.d.revoked; !s.empty(); {
		s.again(&e.item)
		e.read()
		plain.apply(entryRules[:], &e)
		if e.reason < 0 { // not the usual form
			extended.apply(entryExtensionRules[:], &e)
		}
	}
	findings = append(findings, plain.findings(entryRules[:])...)
	return append(findings, extended.findings(entryExtensionRules[:])...)
}

// tally gathers what rules find in entries.
type tally struct {
	first [16]string // by rule
	more  [16]int    // after the first
}

func (t *tally) apply(rules []rule[*entryFacts], e *entryFacts) {
	for i := range rules {
		switch fault := rules[i].check(e); {
		case fault == "":
		case t.first[i] == "":
			t.first[i] = fmt.Sprintf("serial %s: %s", hex(e.serial), fault)
		default:
			t.more[i]++
		}
	}
}

func (t *tally) findings(rules []rule[*entryFacts]) []Finding {
	var findings []Finding
	for i, r := range rules {
		if t.first[i] == "" {
			continue
		}
		f := Finding{r.name, r.source, r.severity, t.first[i]}
		if t.more[i] > 0 {
			f.Message += fmt.Sprintf(", and %d more", t.more[i])
		}
		findings = append(findings, f)
	}
	return findings
}
