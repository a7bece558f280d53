package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files of a report's directory, beside one NAME.svg for every chart.
const (
	pageFile  = "index.html"
	benchFile = "results.txt"
	dataFile  = "report.json"

	unfinished = ".finwait-" // begins the names of files that are being written
)

// generator marks a report.json as one of ours.
const generator = "finwait bench"

// ForeignError is a directory that holds other things than an earlier report.
type ForeignError struct {
	Dir, File string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("directory %q holds %q, which is no part of an earlier report; choose an empty or a new directory", e.Dir, e.File)
}

// PrepareDir makes dir where it is missing and tells whether WriteDir could
// write into it, so that nothing is measured in vain: it must be empty, or hold
// an earlier report and nothing else. The error is a *ForeignError where it
// holds something else.
func PrepareDir(dir string) error {
	if _, err := earlier(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return directoryError(dir, err)
	}
	probe, err := os.CreateTemp(dir, unfinished+"*")
	if err != nil {
		return directoryError(dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// WriteDir writes the report into dir, which it makes where it is missing:
// index.html, which needs no other file and no network, its charts as SVG
// files, results.txt as of WriteBench and report.json as of WriteJSON. An
// earlier report gives way. Each file is whole or not there; index.html comes
// last.
func (r *Report) WriteDir(dir string) error {
	if err := r.validate(); err != nil {
		return err
	}
	old, err := earlier(dir)
	if err != nil {
		return err
	}
	files, err := r.files()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return directoryError(dir, err)
	}
	for _, name := range old {
		if !slices.ContainsFunc(files, func(f file) bool { return f.name == name }) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return directoryError(dir, err)
			}
		}
	}
	for _, f := range files {
		if err := writeFile(dir, f); err != nil {
			return directoryError(dir, err)
		}
	}
	return nil
}

type file struct {
	name string
	text []byte
}

// files makes all files in the order in which they are written. report.json
// comes first: by it the next report knows the charts for its own.
func (r *Report) files() ([]file, error) {
	charts, err := r.render()
	if err != nil {
		return nil, err
	}
	var data, bench, page bytes.Buffer
	for _, form := range []struct {
		to    *bytes.Buffer
		write func(io.Writer) error
	}{{&data, r.WriteJSON}, {&bench, r.WriteBench}, {&page, func(w io.Writer) error { return r.writePage(w, charts) }}} {
		if err := form.write(form.to); err != nil {
			return nil, err
		}
	}
	files := []file{{dataFile, data.Bytes()}, {benchFile, bench.Bytes()}}
	for _, c := range charts {
		files = append(files, file{c.Name + ".svg", c.file})
	}
	return append(files, file{pageFile, page.Bytes()}), nil
}

// writeFile puts a file in its place in one step.
func writeFile(dir string, f file) error {
	temporary, err := os.CreateTemp(dir, unfinished+"*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(f.text)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(dir, f.name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

// earlier lists the files of an earlier report in dir, none where it is empty
// or missing.
func earlier(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, directoryError(dir, err)
	}
	ours, err := earlierNames(dir)
	if err != nil {
		return nil, directoryError(dir, err)
	}
	var names []string
	for _, e := range entries {
		if !e.Type().IsRegular() || !slices.Contains(ours, e.Name()) && !strings.HasPrefix(e.Name(), unfinished) {
			return nil, &ForeignError{dir, e.Name()}
		}
		names = append(names, e.Name())
	}
	return names, nil
}

// earlierNames are the names that a report.json in dir accounts for.
func earlierNames(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, dataFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var data jsonReport
	if json.Unmarshal(text, &data) != nil || data.Generator != generator {
		return nil, nil // somebody else's
	}
	names := []string{pageFile, benchFile, dataFile}
	for _, c := range data.Charts {
		names = append(names, c.Name+".svg")
	}
	return names, nil
}

func directoryError(dir string, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) && filepath.Clean(cause.Path) == filepath.Clean(dir) {
		err = cause.Err // which is said already
	}
	return fmt.Errorf("report directory %q: %w; choose one that can be written", dir, err)
}
