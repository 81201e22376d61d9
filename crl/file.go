package crl

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

var (
	// ErrUnloadable says that a broker cannot load the crlfile: it is
	// missing, unreadable, broken, or has no list in it. A 2.0 broker that is
	// made to reload it stops checking revocation, a 2.1 broker exits, and
	// neither would start with it.
	ErrUnloadable = errors.New("no broker can load the crlfile")

	// ErrMissing says that the crlfile has no list of a CA. A broker refuses
	// all clients of that CA, with the alert unknown_ca (48).
	ErrMissing = errors.New("no CRL of this CA")
)

// FileOptions say whose lists a crlfile holds, and how a new one looks.
type FileOptions struct {
	// CAs are those that issue client certificates: each needs its own list
	// in the file, a root above them needs none. At least one is required,
	// and each must be allowed to sign lists.
	CAs []*x509.Certificate

	// Mode and Owner are for a file that does not exist yet; one that does
	// keeps what it has. They must let the broker's user read it. Mode 0 is
	// 0644, as lists are public; nil is this process's user and group.
	Mode  fs.FileMode
	Owner *Owner

	Now func() time.Time // nil: time.Now
}

// Owner is the numeric owner and group of a file.
type Owner struct{ UID, GID int }

// File is the crlfile of a broker, on disk. It is safe for concurrent use;
// only one File in one process may install into a path.
type File struct {
	path string
	o    FileOptions

	mu      sync.Mutex // held while the file is replaced
	cleaned bool       // what an earlier process left behind is gone
	unsure  bool       // the last write failed, perhaps after it took effect
}

// OpenFile returns the crlfile at path, which need not exist yet. It does not
// touch the disk.
func OpenFile(path string, o FileOptions) (*File, error) {
	if len(o.CAs) == 0 {
		return nil, fmt.Errorf("opening crlfile %s: no CA given to verify its lists with", path)
	}
	for _, ca := range o.CAs {
		if err := maySign(ca); err != nil {
			return nil, fmt.Errorf("opening crlfile %s: %w", path, err)
		}
	}
	o.CAs = slices.Clone(o.CAs)
	if o.Mode == 0 {
		o.Mode = 0o644
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &File{path: path, o: o}, nil
}

// Lists returns the lists that a broker would load, in file order. The error
// is ErrUnloadable, and fs.ErrNotExist if there is no file.
func (f *File) Lists() ([]*x509.RevocationList, error) { return f.read(parseDER) }

func (f *File) read(read func(der []byte) (*x509.RevocationList, error)) ([]*x509.RevocationList, error) {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnloadable, err)
	}
	lists, err := readAll(data, read)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnloadable, f.path, err)
	}
	return lists, nil
}

// Install puts the lists in the file, each in place of the earlier list of
// its CA, and reports whether the file was replaced. The lists of other CAs
// stay. All is done or nothing: if one list is refused, the file is as it
// was.
//
// A list must be of one of the configured CAs and pass [Verify] now, and must
// be newer than the CA's list that is there, though that one may have
// expired; an older one is ErrRollback. Newer is what has a greater number and
// no earlier thisUpdate. After a list of a clock that was ahead, which is not
// yet valid, a greater number is enough. The list that is there already changes
// nothing and is no error.
//
// A file that is missing, empty or broken is repaired, with those of its
// lists that can still be read. What is not a list of a configured CA, by
// name and signature, is dropped: after a CA was rebuilt under its old name,
// the old CA's list counts for nothing.
//
// The file is replaced durably and at once: a broker that opens it sees the
// old content or the new.
func (f *File) Install(lists ...*x509.RevocationList) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, err = f.install(lists)
	if err != nil {
		err = fmt.Errorf("installing CRL in %s: %w", f.path, err)
	}
	return changed, err
}

func (f *File) install(lists []*x509.RevocationList) (changed bool, err error) {
	data, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err // it may hold a list that is newer
	}
	here := f.sort(data)
	changed = here.damaged || f.unsure
	var errs []error
	for _, list := range lists {
		switch replaced, err := f.place(here.byCA, list); {
		case err != nil:
			errs = append(errs, err)
		case replaced:
			changed = true
		}
	}
	if len(errs) > 0 || !changed || len(lists) == 0 {
		return false, errors.Join(errs...)
	}
	err = f.write(here.byCA)
	f.unsure = err != nil
	return err == nil, err
}

// place puts list into its CA's slot if it may go there.
func (f *File) place(byCA []*x509.RevocationList, list *x509.RevocationList) (replaced bool, err error) {
	slot := f.slot(list)
	if slot < 0 {
		return false, f.foreign(list)
	}
	if err := Verify(list, f.o.CAs[slot], f.o.Now()); err != nil {
		return false, err
	}
	if old := byCA[slot]; old != nil {
		// The signed part decides: ECDSA signs the same list differently
		// each time.
		if bytes.Equal(old.RawTBSRevocationList, list.RawTBSRevocationList) {
			return false, nil
		}
		if err := f.supersedes(old, list); err != nil {
			return false, fmt.Errorf("CRL of %q: %w", list.Issuer, err)
		}
	}
	byCA[slot] = list
	return true, nil
}

// supersedes returns ErrRollback unless list may take the place of old: it is
// newer, or has a greater number than one that is not yet valid. By its date
// nothing could follow such a list, and the broker would refuse every client
// until then.
func (f *File) supersedes(old, list *x509.RevocationList) error {
	err := newer(old, list)
	if err != nil && f.o.Now().Before(old.ThisUpdate) && old.Number != nil && list.Number != nil && list.Number.Cmp(old.Number) > 0 {
		return nil
	}
	return err
}

// slot returns the index of the CA whose list this is, dates aside, or -1.
// Certificates of one CA that share name and key share the first one's slot.
func (f *File) slot(list *x509.RevocationList) int {
	return slices.IndexFunc(f.o.CAs, func(ca *x509.Certificate) bool {
		return bytes.Equal(list.RawIssuer, ca.RawSubject) && authentic(list, ca) == nil
	})
}

// foreign says why list is of none of the CAs: of the one that it names, if
// that is one of ours.
func (f *File) foreign(list *x509.RevocationList) error {
	var names []string
	var errs []error
	for _, ca := range f.o.CAs {
		if bytes.Equal(list.RawIssuer, ca.RawSubject) {
			errs = append(errs, authentic(list, ca))
		}
		names = append(names, ca.Subject.String())
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w: %q (want one of %q)", ErrIssuer, list.Issuer, names)
}

// content is what a crlfile holds.
type content struct {
	byCA    []*x509.RevocationList // indexed like FileOptions.CAs, nil where there is none
	damaged bool                   // there is more, or other, than one good list a CA
}

// sort finds each CA's newest list in data. One that has expired counts: it
// says what must not be rolled back.
func (f *File) sort(data []byte) content {
	c := content{byCA: make([]*x509.RevocationList, len(f.o.CAs))}
	for list, err := range listsIn(data, readHead) {
		if err != nil {
			c.damaged = true
			continue
		}
		slot := f.slot(list)
		if slot < 0 || usable(list) != nil {
			c.damaged = true
			continue
		}
		if old := c.byCA[slot]; old != nil {
			c.damaged = true
			if f.supersedes(old, list) != nil {
				continue
			}
		}
		c.byCA[slot] = list
	}
	return c
}

func (f *File) write(byCA []*x509.RevocationList) error {
	if !f.cleaned {
		if err := durable.RemoveTemps(f.path); err != nil {
			return err
		}
		f.cleaned = true
	}
	attr, err := durable.AttrOf(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		attr, err = durable.Attr{Mode: f.o.Mode, Owner: (*durable.Owner)(f.o.Owner)}, nil
	}
	if err != nil {
		return err
	}
	lists := slices.DeleteFunc(byCA, func(l *x509.RevocationList) bool { return l == nil })
	return durable.WriteFile(f.path, EncodePEM(lists...), attr)
}

// Check reports what a broker that loads the file at time now would do with
// it. Nil: it lets in the clients of all CAs, but for revoked ones.
//
// ErrUnloadable: it must not be loaded. Do not signal a running broker: it
// would go on without revocation, or exit.
//
// Any other error joins, for each CA in question, ErrMissing or what [Verify]
// found: the broker loads the file, and some clients are judged otherwise
// than they should be, mostly refused. A broker may be made to load it, as it
// does no harm to the clients of the other CAs, and one that has an earlier
// copy in memory refuses the same clients once that has expired.
func (f *File) Check(now time.Time) error {
	lists, err := f.read(readHead)
	if err != nil {
		return err
	}
	var errs []error
	for _, ca := range f.o.CAs {
		if err := judge(lists, ca, now); err != nil {
			errs = append(errs, fmt.Errorf("%s: CA %q: %w", f.path, ca.Subject, err))
		}
	}
	return errors.Join(errs...)
}
