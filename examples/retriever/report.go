package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
)

// keptFrom are the endings of what a report must not replace.
var keptFrom = []string{".key", ".csr", ".crt", ".crl", ".p12"}

// input is a file that the run reads, and what it is given as.
type input struct{ as, path string }

// checkReport refuses a path for the report before anything is done.
func checkReport(path string, inputs []input) error {
	if path == "" || onStdout(path) {
		return nil
	}
	names := []string{path}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		names = append(names, target)
	}
	for _, name := range names {
		if ending := strings.ToLower(filepath.Ext(name)); slices.Contains(keptFrom, ending) {
			return fmt.Errorf("want a file that does not end in %s, as those of devices do", ending)
		}
	}
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return errors.New("want a file, not a folder")
		}
		for _, in := range inputs {
			if read, err := os.Stat(in.path); err == nil && read.Mode().IsRegular() && os.SameFile(info, read) {
				return fmt.Errorf("want another file than that of %s", in.as)
			}
		}
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return errors.New("want a file in a folder that is there")
	}
	return nil
}

// onStdout reports whether the report is to go where all else went, so that
// the two must not mix.
func onStdout(path string) bool { return path == "-" || path == "/dev/stdout" }

func (r *retriever) saveReport(report *enrol.Report) error {
	if r.reportTo == "" {
		return nil
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if onStdout(r.reportTo) {
		_, err = r.reportOut.Write(text)
	} else {
		err = writeReport(r.reportTo, text)
	}
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return nil
}

// writeReport replaces files alone: a device, a pipe or a link stays, and what
// it leads to gets the report.
func writeReport(path string, text []byte) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, text, 0o644)
	}
	return durable.WriteFile(path, text, durable.Attr{Mode: 0o644})
}
